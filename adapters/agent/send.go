package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"passerelle"
)

// send posts a message, with its file if it has one, and returns the agent's
// answer.
func (a *Agent) send(ctx context.Context, m *passerelle.Message, files passerelle.Spool) (answer, error) {
	if ctx.Err() != nil {
		return nil, fail(passerelle.Temporary, "", "not sent: %w", ctx.Err())
	}
	text, filled, err := a.fill(m.Body)
	if err != nil {
		return nil, fail(passerelle.Stuck, "correct the template and retry", "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	if len(m.Files) == 0 {
		b := a.body(text, nil)
		return a.post(ctx, bytes.NewReader(b.head), int64(len(b.head)), filled)
	}
	b, err := a.withFile(text, m.Files, files)
	if err != nil {
		return nil, err
	}
	return a.upload(ctx, b, filled)
}

// upload posts a message while its file is read. The size is counted first, so
// that the request can say it: PHP behind a gateway may see no body without it.
func (a *Agent) upload(ctx context.Context, b *body, filled bool) (answer, error) {
	size, err := b.size()
	if err != nil {
		return nil, b.unread(err)
	}
	s := b.stream()
	said, err := a.post(ctx, s.r, size, filled)
	switch lost := s.end(); {
	case lost == nil:
		return said, err
	case !errors.Is(lost, io.ErrClosedPipe): // the file failed: the JSON never came to its end
		return nil, b.unread(lost)
	case err == nil:
		return nil, fail(passerelle.Unsure, "", "the agent answered before it had the whole file")
	}
	return nil, err
}

// post makes the request. There is no http.Client, so that no redirect is
// followed with the credentials and no error tells the URL.
func (a *Agent) post(ctx context.Context, body io.Reader, size int64, filled bool) (answer, error) {
	var tr trace
	req, err := a.request(tr.watch(ctx), body, size, filled)
	if err != nil {
		return nil, fail(passerelle.Stuck, "", "url is no address")
	}
	res, err := a.cfg.Transport.RoundTrip(req)
	if err != nil {
		return nil, a.lost(err, &tr)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if res.StatusCode/100 != 2 {
		return nil, a.httpError(res, text)
	}
	if err != nil {
		return nil, fail(passerelle.Unsure, "", "the answer was cut off: %s", broken(err))
	}
	return a.judge(text)
}

func (a *Agent) request(ctx context.Context, body io.Reader, size int64, filled bool) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.URL, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	if a.cfg.Form {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if size > muchBody { // a refusal is heard before the file is sent
		req.Header.Set("Expect", "100-continue")
	}
	if !filled && a.cfg.User != "" {
		req.SetBasicAuth(a.cfg.User, a.cfg.Password.Reveal())
	}
	return req, nil
}

// muchBody is the size, in bytes, from which a request asks before it sends.
const muchBody = 1 << 20

// trace notes how far a request came.
type trace struct{ asked, connected atomic.Bool }

func (tr *trace) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { tr.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { tr.connected.Store(true) },
	})
}
