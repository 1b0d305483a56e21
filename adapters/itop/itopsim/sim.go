package itopsim

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // Europe/Paris on machines without a zone database

	"passerelle/internal/fault"
)

// Sim is one simulated iTop. It is an http.Handler, safe for concurrent use.
// Set its exported fields before the first request.
type Sim struct {
	// LoseConcurrentLogWrites makes updates of one ticket's logs that overlap
	// lose entries, as a real iTop does: each reads the log, waits a moment
	// (LogWindow) and writes the whole log back.
	LoseConcurrentLogWrites bool
	LogWindow               time.Duration // default 20 ms

	// AppURL is what $APP_URL$ gives, with a slash at its end.
	AppURL string

	// PostMax is PHP's post_max_size in bytes: a larger body arrives without
	// its form. 0 = no limit. UploadMax is upload_max_filesize.
	PostMax, UploadMax int64

	model    *model
	zone     *time.Location
	accounts []*Account
	faults   fault.Gate

	mu       sync.Mutex // guards all below
	client   *http.Client
	store    *store
	triggers []Trigger
	mode     Mode
	races    []Race
	writes   []Write
	sent     []Sent
	async    sync.WaitGroup
}

// Mode is how the whole server is.
type Mode string

const (
	Normal       Mode = ""
	Maintenance  Mode = "maintenance"   // as during a setup: HTTP 503 and another shape
	ReadOnly     Mode = "read-only"     // every write is refused as a lack of permission
	DatabaseDown Mode = "database-down" // HTTP 500, text/html
)

// New makes an iTop that holds what the fixture says.
func New(f *Fixture) (*Sim, error) {
	s := &Sim{AppURL: "http://itop.example/", LogWindow: 20 * time.Millisecond, client: http.DefaultClient}
	if err := s.setModel(f); err != nil {
		return nil, err
	}
	zone := f.Timezone
	if zone == "" {
		zone = "Europe/Paris"
	}
	var err error
	if s.zone, err = time.LoadLocation(zone); err != nil {
		return nil, fmt.Errorf("itopsim: timezone %q: %w (for instance Europe/Paris)", zone, err)
	}
	if err := s.setAccounts(f.Accounts); err != nil {
		return nil, err
	}
	if err := s.fill(f.Objects); err != nil {
		return nil, err
	}
	return s, s.setTriggers(f.Triggers)
}

func (s *Sim) setModel(f *Fixture) error {
	switch f.Model {
	case ModelStock:
		s.model = stockModel()
	case ModelSUMiT:
		s.model = sumitModel(f)
	default:
		return fmt.Errorf("itopsim: model %q: unknown (one of %s, %s)", f.Model, ModelSUMiT, ModelStock)
	}
	s.model.complete()
	s.store = newStore(s.model)
	return nil
}

// setAccounts makes a user object of each account.
func (s *Sim) setAccounts(accounts []Account) error {
	next := 2
	for _, a := range accounts {
		if a.Login == "" {
			return fmt.Errorf("itopsim: an account without login")
		}
		if s.account(a.Login) != nil {
			return fmt.Errorf("itopsim: two accounts %q", a.Login)
		}
		if a.ID == 0 {
			a.ID = next
		}
		next = max(next, a.ID) + 1
		if a.Name == "" {
			a.Name = a.Login
		}
		s.accounts = append(s.accounts, &a)
		s.store.add(s.userObject(&a))
	}
	return nil
}

func (s *Sim) userObject(a *Account) *record {
	class, scope := "UserLocal", ""
	if a.Token != "" {
		class, scope = "UserToken", "REST/JSON"
	}
	return &record{class: s.model.classes[class], id: a.ID, vals: map[string]any{
		"login": a.Login, "contactid": a.ContactID, "status": "enabled", "language": a.Language, "scope": scope}}
}

func (s *Sim) account(login string) *Account {
	for _, a := range s.accounts {
		if a.Login == login {
			return a
		}
	}
	return nil
}

func (s *Sim) accountByID(id int) *Account {
	for _, a := range s.accounts {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// SetTriggers replaces all triggers. It panics on a trigger that iTop could
// not hold; /sim/triggers answers 400 instead.
func (s *Sim) SetTriggers(triggers []Trigger) {
	if err := s.setTriggers(triggers); err != nil {
		panic(err)
	}
}

func (s *Sim) setTriggers(triggers []Trigger) error {
	for i := range triggers {
		if err := triggers[i].check(s.model); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.triggers = append([]Trigger(nil), triggers...)
	return nil
}

// Faults is the gate that spoils answers of /webservices/rest.php. The label
// is "<operation> <Class>", for instance "core/update UserRequest".
func (s *Sim) Faults() *fault.Gate { return &s.faults }

// Client sets the client that sends webhooks; default http.DefaultClient.
func (s *Sim) Client(c *http.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
}

// SetMode puts the server into maintenance, read-only and so on.
func (s *Sim) SetMode(m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

// Race is a write to a journal that began before the entry that is now the last
// was written, and ends after it: both writers have read the journal without
// either entry, so the second takes the first one's place (recording 120).
type Race struct {
	Key int    `json:"key"` // of the ticket; 0 = the next one that is written to
	Log string `json:"log"` // public_log or private_log
	By  string `json:"by"`  // login of the second writer; "" = whoever comes next
}

// Overwrite makes the next write that a Race describes take the place of the
// journal's last entry, once. It panics on a journal that no ticket has;
// /sim/races answers 400 instead.
func (s *Sim) Overwrite(r Race) {
	if err := s.overwrite(r); err != nil {
		panic(err)
	}
}

func (s *Sim) overwrite(r Race) error {
	if a := s.model.classes["UserRequest"].attr(r.Log); a == nil || a.kind != kLog {
		return fmt.Errorf("itopsim: race: %q is no journal (one of public_log, private_log)", r.Log)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.races = append(s.races, r)
	return nil
}

func (s *Sim) readOnly() bool { return s.mode == ReadOnly }

// Sent lists every webhook so far, as iTop's EventWebhook log does.
func (s *Sim) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Sent{}, s.sent...)
}

// Writes lists every effect so far, in order.
func (s *Sim) Writes() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Write{}, s.writes...)
}

// Close waits for asynchronous webhooks.
func (s *Sim) Close() { s.async.Wait() }

// seconds between two local dates, as text.
func (s *Sim) seconds(from, to string) string {
	a, errA := time.ParseInLocation(stamp, from, s.zone)
	b, errB := time.ParseInLocation(stamp, to, s.zone)
	if errA != nil || errB != nil {
		return ""
	}
	return itoa(int(b.Sub(a).Seconds()))
}

// ServeHTTP answers the REST service, its console and portal variants, and /sim/.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/webservices/rest.php":
		s.serveREST(w, r, ContextREST)
	case r.URL.Path == "/console/rest.php":
		s.serveREST(w, r, ContextConsole)
	case r.URL.Path == "/portal/rest.php":
		s.serveREST(w, r, ContextPortal)
	case strings.HasPrefix(r.URL.Path, "/sim/"):
		s.serveSim(w, r)
	default:
		http.Error(w, "itopsim: no such page (try /webservices/rest.php, /console/rest.php, /portal/rest.php or /sim/writes)", http.StatusNotFound)
	}
}
