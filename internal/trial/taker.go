package trial

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/tidwall/gjson"
)

// Taker is a partner's own agent: it takes every message, as an iTop answers,
// and gives a new ticket the next number.
type Taker struct{ made atomic.Int64 }

// ServeHTTP takes a message.
func (t *Taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || !gjson.ValidBytes(b) {
		http.Error(w, "a message is posted, as JSON", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if gjson.GetBytes(b, "operation").String() != "core/create" {
		fmt.Fprintln(w, `{"code": 0, "message": null}`)
		return
	}
	n := t.made.Add(1)
	fmt.Fprintf(w, `{"code": 0, "message": null, "objects": {"UserRequest::%d": {"code": 0, "key": "%d", "fields": {"ref": "AGT-%d"}}}}`+"\n", 500+n, 500+n, n)
}
