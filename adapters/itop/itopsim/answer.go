package itopsim

import "fmt"

// Codes of the REST service.
const (
	codeOK           = 0
	codeUnauthorized = 1
	codeNoVersion    = 2
	codeNoJSON       = 3
	codeBadJSON      = 4
	codeBadVersion   = 10
	codeUnknownVerb  = 11
	codeBadPage      = 13
	codeInternal     = 100
)

// failure is an error as the REST service tells it. Thrown errors have the
// prefix "Error: " and no "objects"; the others answer with "objects": null.
type failure struct {
	code    int
	message string
	thrown  bool
	more    object // members after "objects"
	crash   bool   // PHP's own fatal error: HTTP 500 and a short HTML page
}

func (f *failure) Error() string { return f.message }

func thrown(code int, format string, args ...any) error {
	return &failure{code: code, message: fmt.Sprintf(format, args...), thrown: true}
}

// internal is the usual error: code 100.
func internal(format string, args ...any) error { return thrown(codeInternal, format, args...) }

// refused is an error that the operation itself answers.
func refused(code int, format string, args ...any) error {
	return &failure{code: code, message: fmt.Sprintf(format, args...)}
}

// answer is what an operation gives back.
type answer struct {
	message any // string or nil
	objects object
	more    object // members after "objects"
	bare    bool   // no "objects" member
}

func (a *answer) body() object {
	o := object{{"code", codeOK}, {"message", a.message}}
	if !a.bare {
		o = append(o, pair{"objects", orNull(a.objects)})
	}
	return append(o, a.more...)
}

func (f *failure) body() object {
	if f.thrown {
		return object{{"code", f.code}, {"message", "Error: " + f.message}}
	}
	return append(object{{"code", f.code}, {"message", f.message}, {"objects", nil}}, f.more...)
}

func orNull(o object) any {
	if len(o) == 0 {
		return nil
	}
	return o
}
