package conversation

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"passerelle"
)

// TestReplayIsHarmless says one webhook of Jira's a thousand times over, and one
// push of iTop's a hundred times, from several callers at once, as somebody could who listened
// in, and as Jira does whose answer was lost: a webhook only has the issue read,
// and readings that wait are one; a push is known by its text. Nothing is
// written, however often.
func TestReplayIsHarmless(t *testing.T) {
	e := newEcho(t)
	e.acts(passerelle.Requester, e.entry("une fois"))
	e.acts(passerelle.Partner, comment("une seule"))
	e.writes()
	hooks, pushes := e.tools[passerelle.Partner].Jira.Sent(), e.tools[passerelle.Requester].ITop.Sent()
	hook, push := hooks[len(hooks)-1], pushes[len(pushes)-1]
	var reads atomic.Int64
	tool := e.ears[passerelle.Partner].next
	e.ears[passerelle.Partner].next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "expand=renderedFields") {
			reads.Add(1)
		}
		tool.ServeHTTP(w, r)
	})
	const callers, times = 4, 250
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			for i := range times {
				req, _ := http.NewRequestWithContext(e.ctx, http.MethodPost, hook.URL, strings.NewReader(hook.Body))
				req.Header = hook.Header.Clone()
				res, err := http.DefaultClient.Do(req)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("the webhook said again: %v, %v", res, err)
					return
				}
				res.Body.Close()
				if i%10 != 0 {
					continue
				}
				if _, err := e.post(passerelle.Requester, push.Payload); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	calls.Wait()
	e.silent("a thousand replays")
	if n := reads.Load(); n == 0 || n > callers*times/2 {
		t.Errorf("the issue was read %d times for %d webhooks", n, callers*times)
	} else {
		t.Logf("the issue was read %d times for %d webhooks", n, callers*times)
	}
}
