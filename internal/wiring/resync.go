package wiring

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"passerelle"
	"passerelle/internal/relay"
	"passerelle/outbox"
)

// resyncing answers the operators' questions that need the tools: POST
// /api/resync/{ref} compares one pair with its two tickets, and mends with
// ?apply=1; POST /api/escalate/{contract}/{key} takes a ticket whose create never
// came; GET /api/restored tells how the learning after a restore goes.
func resyncing(mux *http.ServeMux, r *relay.Relay, store outbox.Store, contracts []string) {
	mux.HandleFunc("POST /api/resync/{ref...}", func(w http.ResponseWriter, req *http.Request) {
		var found *passerelle.Link
		for _, c := range contracts {
			for _, side := range []passerelle.Side{passerelle.Broker, passerelle.Requester, passerelle.Partner} {
				l, err := store.Find(req.Context(), c, side, req.PathValue("ref"))
				if errors.Is(err, passerelle.ErrNotFound) {
					continue
				}
				if err != nil {
					refuse(w, http.StatusInternalServerError, err)
					return
				}
				if found != nil && (found.ID != l.ID || found.Contract != l.Contract) {
					refuse(w, http.StatusConflict, errors.New(strconv.Quote(req.PathValue("ref"))+" means several tickets: give the gateway's own number"))
					return
				}
				found = l
			}
		}
		if found == nil {
			refuse(w, http.StatusNotFound, errors.New("no ticket is known by "+strconv.Quote(req.PathValue("ref"))+" (give a number or id of either side, or the gateway's own; gateway resync --escalate takes one that was never told)"))
			return
		}
		answer(w)(r.Resync(req.Context(), found.Contract, found.ID, req.FormValue("apply") != ""))
	})
	mux.HandleFunc("POST /api/escalate/{contract}/{key}", func(w http.ResponseWriter, req *http.Request) {
		answer(w)(r.Escalate(req.Context(), req.PathValue("contract"), req.PathValue("key")))
	})
	mux.HandleFunc("GET /api/restored", func(w http.ResponseWriter, req *http.Request) {
		report, ok := r.Relearning(req.Context())
		if !ok {
			refuse(w, http.StatusNotFound, errors.New("this store was never restored from a backup"))
			return
		}
		answer(w)(report, nil)
	})
}

// answer writes what was found, or why not.
func answer(w http.ResponseWriter) func(v any, err error) {
	return func(v any, err error) {
		if err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the caller left
	}
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // the caller left
}
