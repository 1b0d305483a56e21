package admin

import (
	"context"
	"net/http"

	"passerelle/outbox"
)

// Tools are the questions of operators that only the tools can answer. What they
// return is shown as JSON.
type Tools struct {
	// Resync compares one pair with its two tickets, and mends it with apply.
	Resync func(ctx context.Context, contract, own string, apply bool) (any, error)
	// Escalate takes a ticket of the requester's tool whose create never came.
	Escalate func(ctx context.Context, contract, key string) (any, error)
	// Purge takes what people wrote on a pair out of the store; with force, what can
	// be of one that is not over.
	Purge func(ctx context.Context, contract, own string, d Decision, force bool) (any, error)
	// Restored tells how the learning after a restore goes; false: there was none.
	Restored func(ctx context.Context) (any, bool)
}

// ToolsHandler returns the part of the API that asks the tools: POST
// /api/resync/{ref} with ?apply=1, POST /api/escalate/{contract}/{key}, POST
// /api/purge/{ref} with ?force=1, GET /api/restored.
func ToolsHandler(s outbox.Store, contracts []string, t Tools) http.Handler {
	a := &api{store: s, contracts: contracts}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/resync/{ref...}", func(w http.ResponseWriter, r *http.Request) {
		link, ok := a.link(w, r)
		if !ok {
			return
		}
		asked(w)(t.Resync(r.Context(), link.Contract, link.ID, r.FormValue("apply") != ""))
	})
	mux.HandleFunc("POST /api/escalate/{contract}/{key}", func(w http.ResponseWriter, r *http.Request) {
		asked(w)(t.Escalate(r.Context(), r.PathValue("contract"), r.PathValue("key")))
	})
	mux.HandleFunc("POST /api/purge/{ref...}", func(w http.ResponseWriter, r *http.Request) {
		d, ok := readDecision(w, r)
		if !ok {
			return
		}
		link, ok := a.link(w, r)
		if !ok {
			return
		}
		asked(w)(t.Purge(r.Context(), link.Contract, link.ID, d, r.FormValue("force") != ""))
	})
	mux.HandleFunc("GET /api/restored", func(w http.ResponseWriter, r *http.Request) {
		report, ok := t.Restored(r.Context())
		if !ok {
			fail(w, http.StatusNotFound, "this store was never restored from a backup")
			return
		}
		answer(w, report)
	})
	return mux
}

// asked writes what a tool answered, or why it did not.
func asked(w http.ResponseWriter) func(v any, err error) {
	return func(v any, err error) {
		if err != nil {
			fail(w, http.StatusConflict, err.Error())
			return
		}
		answer(w, v)
	}
}
