package main

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// request makes one request and returns status and body.
func request(method, url, kind, body string, header ...string) (string, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", kind)
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.Status, string(b), err
}

// await URL REGEXP waits until a page of a server says something.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL REGEXP")
	}
	re := regexp.MustCompile(args[1])
	last := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, body, err := request(http.MethodGet, args[0], "", "")
		if err == nil && re.MatchString(body) {
			return
		}
		if last = body; err != nil {
			last = err.Error()
		}
	}
	ts.Fatalf("%s never said %q; last: %s", args[0], args[1], last)
}

// get URL prints a page.
func get(ts *testscript.TestScript, neg bool, args []string) {
	status, body, err := request(http.MethodGet, args[0], "", "")
	show(ts, status, body, err)
}

// put URL JSON changes a simulator.
func put(ts *testscript.TestScript, neg bool, args []string) {
	method := http.MethodPut
	if strings.HasSuffix(args[0], "/sim/faults") {
		method = http.MethodPost
	}
	status, body, err := request(method, args[0], "application/json", args[1])
	show(ts, status, body, err)
}

// clear URL takes a simulator's faults away.
func clearFaults(ts *testscript.TestScript, neg bool, args []string) {
	status, body, err := request(http.MethodDelete, args[0], "", "")
	show(ts, status, body, err)
}

// post URL FILE [HEADER…] posts a file's JSON to a face as a webhook does.
func post(ts *testscript.TestScript, neg bool, args []string) {
	status, body, err := request(http.MethodPost, args[0], "application/json", ts.ReadFile(args[1]), args[2:]...)
	show(ts, status, body, err)
}

// console URL FILE does a file's operation at the simulated iTop's console.
func console(ts *testscript.TestScript, neg bool, args []string) {
	form := url.Values{"version": {"1.3"}, "auth_user": {"agent"}, "auth_pwd": {"demo-itop-agent"}, "json_data": {ts.ReadFile(args[1])}}
	status, body, err := request(http.MethodPost, args[0], "application/x-www-form-urlencoded", form.Encode())
	show(ts, status, body, err)
}

func show(ts *testscript.TestScript, status, body string, err error) {
	ts.Check(err)
	_, err = io.WriteString(ts.Stdout(), status+"\n"+body+"\n")
	ts.Check(err)
}

// keysOf lists the YAML keys of a configuration structure, all levels.
func keysOf(v any) []string {
	var out []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" {
				if key != ",inline" {
					out = append(out, key)
				}
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeOf(v))
	return out
}

// mentions tells whether a YAML text has a key, be it in a comment.
func mentions(b []byte, key string) bool {
	return bytes.Contains(b, []byte(key+":"))
}
