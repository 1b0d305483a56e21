package itopsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// serveSim answers /sim/: what tests and people want to see and set.
func (s *Sim) serveSim(w http.ResponseWriter, r *http.Request) {
	switch path := strings.TrimPrefix(r.URL.Path, "/sim/"); {
	case path == "faults":
		s.faults.ServeHTTP(w, r)
	case path == "triggers" && r.Method == http.MethodPut:
		s.putTriggers(w, r)
	case path == "mode" && r.Method == http.MethodPut:
		s.putMode(w, r)
	case path == "races" && r.Method == http.MethodPost:
		s.postRace(w, r)
	case r.Method != http.MethodGet:
		http.Error(w, "itopsim: use GET (or PUT on /sim/triggers and /sim/mode, POST on /sim/races, POST and DELETE on /sim/faults)", http.StatusMethodNotAllowed)
	case path == "writes":
		sendJSON(w, s.Writes())
	case path == "sent":
		sendJSON(w, s.Sent())
	case path == "triggers":
		s.mu.Lock()
		triggers := append([]Trigger{}, s.triggers...)
		s.mu.Unlock()
		sendJSON(w, triggers)
	case strings.HasPrefix(path, "objects/"):
		s.getObjects(w, strings.TrimPrefix(path, "objects/"))
	default:
		http.Error(w, "itopsim: no such page (try /sim/faults, /sim/writes, /sim/sent, /sim/triggers, /sim/mode or /sim/objects/UserRequest)", http.StatusNotFound)
	}
}

func sendJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	_ = enc.Encode(v)
}

func (s *Sim) putTriggers(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	var triggers []Trigger
	err := dec.Decode(&triggers)
	if err == nil {
		err = s.setTriggers(triggers)
	}
	if err != nil {
		http.Error(w, "itopsim: triggers: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sim) postRace(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	dec.DisallowUnknownFields()
	var race Race
	err := dec.Decode(&race)
	if err == nil {
		err = s.overwrite(race)
	}
	if err != nil {
		http.Error(w, "itopsim: races: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sim) putMode(w http.ResponseWriter, r *http.Request) {
	var mode Mode
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&mode); err != nil {
		http.Error(w, "itopsim: mode: "+err.Error(), http.StatusBadRequest)
		return
	}
	switch mode {
	case Normal, Maintenance, ReadOnly, DatabaseDown:
		s.SetMode(mode)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, fmt.Sprintf("itopsim: unknown mode %q (one of %q, %q, %q, %q)", mode, Normal, Maintenance, ReadOnly, DatabaseDown), http.StatusBadRequest)
	}
}

// getObjects lists all objects of a class, every attribute and the id.
func (s *Sim) getObjects(w http.ResponseWriter, class string) {
	if s.model.classes[class] == nil {
		http.Error(w, fmt.Sprintf("itopsim: no class %q (one of %v)", class, s.model.names()), http.StatusNotFound)
		return
	}
	s.mu.Lock()
	out := list{}
	for _, r := range s.store.all(class) {
		o := object{{"class", r.class.name}, {"id", itoa(r.id)}}
		for _, name := range s.store.everything(r.class.name) {
			o = append(o, pair{name, s.store.show(r, name)})
		}
		out = append(out, o)
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encodePHP(out))
}
