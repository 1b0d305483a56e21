package conversation

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"passerelle"
)

// TestResync reads both tickets of a pair again: first it only tells what is
// missing, and writes nothing; then it mends it, once.
func TestResync(t *testing.T) {
	c := &crossing{t: t}
	var deaf atomic.Bool
	c.setUp("../../contracts/orleans-tours-gar/v1", func(r *rig) { r.deaf = deaf.Load })
	defer c.tearDown()
	c.escalate(1)
	c.still()
	key := c.tickets[0]
	l, err := c.store.Find(c.ctx, c.contract.Name, passerelle.Requester, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.resync(l.Own.Number, ""); got.Get("sides.#.news").Raw != "[]" || got.Get("sides.#(side==requester).status").String() != "cex" {
		t.Errorf("nothing happened, and it says %s", got)
	}

	deaf.Store(true) // all that follows is told to nobody
	for _, text := range []string{`{"operation":"core/update","class":"UserRequest","comment":"c","key":` + key + `,"fields":{"public_log":"<p>question perdue</p>"}}`} {
		if _, err := c.tools[passerelle.Requester].Say(c.ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.tools[passerelle.Partner].Say(c.ctx, "POST /rest/api/2/issue/"+l.Partner.Key+"/comment\n\n{\"body\":\"réponse perdue\"}"); err != nil {
		t.Fatal(err)
	}
	c.still()
	before := c.writes()
	for _, ref := range []string{l.Own.Number, l.Partner.Number, "R-000001"} {
		got := c.resync(ref, "")
		if n := got.Get("sides.#.news|@flatten|#").Int(); n != 2 || strings.Contains(got.Raw, "perdue") || got.Get("applied").Bool() {
			t.Errorf("%s: it names %d facts, want 2, and no text: %s", ref, n, got)
		}
	}
	c.still()
	if n := c.writes() - before; n != 0 {
		t.Errorf("only telling what is missing made %d writes", n)
	}
	c.resync(l.Own.Number, "?apply=1")
	c.still()
	if here, there := c.everything(passerelle.Requester), c.everything(passerelle.Partner); strings.Count(here, "réponse perdue") != 1 || strings.Count(there, "question perdue") != 1 {
		t.Errorf("it is not there once: %s\n%s", here, there)
	}
	if got := c.resync(l.Own.Number, "?apply=1"); got.Get("sides.#.news").Raw != "[]" {
		t.Errorf("what was mended is missing still: %s", got)
	}
	c.still()
	if here, there := c.everything(passerelle.Requester), c.everything(passerelle.Partner); strings.Count(here, "réponse perdue") != 1 || strings.Count(there, "question perdue") != 1 {
		t.Errorf("it is there more than once: %s\n%s", here, there)
	}
	for ref, want := range map[string]int{"R-999": http.StatusNotFound} {
		if w := c.ask("POST", "/api/resync/"+ref); w.Code != want {
			t.Errorf("%s: %d %s", ref, w.Code, w.Body)
		}
	}
}

// TestEscalateByHand takes a ticket that stood with the partner's team before
// anybody listened.
func TestEscalateByHand(t *testing.T) {
	c := &crossing{t: t}
	var deaf atomic.Bool
	deaf.Store(true)
	c.setUp("../../contracts/orleans-tours-gar/v1", func(r *rig) { r.deaf = deaf.Load })
	defer c.tearDown()
	c.escalate(1)
	deaf.Store(false)
	for range 2 { // the second finds an open pair
		w := c.ask("POST", "/api/escalate/"+c.contract.Name+"/"+c.tickets[0])
		c.still()
		l, err := c.store.Find(c.ctx, c.contract.Name, passerelle.Requester, c.tickets[0])
		if err != nil || l.Partner.Number != "GSN1-1" || w.Code != http.StatusOK {
			t.Fatalf("%v %v %d %s", l, err, w.Code, w.Body)
		}
	}
	if w := c.ask("POST", "/api/escalate/"+c.contract.Name+"/77"); w.Code != http.StatusConflict {
		t.Errorf("a ticket that is not there: %d %s", w.Code, w.Body)
	}
}

func (c *crossing) still() {
	if err := c.settle(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crossing) ask(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.admin.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1"+path, nil))
	return w
}

func (c *crossing) resync(ref, how string) gjson.Result {
	w := c.ask("POST", "/api/resync/"+ref+how)
	if w.Code != http.StatusOK {
		c.t.Fatalf("%s: %d %s", ref, w.Code, w.Body)
	}
	return gjson.ParseBytes(w.Body.Bytes())
}
