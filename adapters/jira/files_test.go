package jira_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"passerelle"
	"passerelle/adapters/jira"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/fault"
)

func TestFetch(t *testing.T) {
	// Jira believes to live elsewhere, as behind a proxy: its links do not count.
	b := newBench(t, func(f *jirasim.Fixture) { f.BaseURL = "https://elsewhere.example/jira" })
	id := b.issue()
	b.attaches(id, "capture d'écran é.png", "pixels")
	e := events(b.read(id), "attachment")[0]
	if err := b.jira.Fetch(context.Background(), e, b.spool); err != nil {
		t.Fatal(err)
	}
	f := e.Files[0]
	same(t, "name", f.Name, "capture d'écran é.png")
	same(t, "bytes", string(b.spool.kept[f.Sum]), "pixels")
	same(t, "size", f.Size, 6)
}

func TestFetchOfAFileThatIsNotWhatJiraSaid(t *testing.T) {
	b := newBench(t)
	id := b.issue()
	b.attaches(id, "x.txt", "pixels")
	for _, size := range []int64{5, 7} {
		e := events(b.read(id), "attachment")[0]
		e.Files[0].Size = size
		b.isError(b.jira.Fetch(context.Background(), e, b.spool), passerelle.Temporary, `"x.txt" came with`)
	}
	same(t, "released", b.spool.released, 2)
	e := events(b.read(id), "attachment")[0]
	b.fault(fault.Rule{Match: "/secure/", Kind: fault.Truncate})
	b.isError(b.jira.Fetch(context.Background(), e, b.spool), passerelle.Down, "cut short")
}

// download is an Attach event whose file lies at source.
func download(source string) *passerelle.Event {
	return &passerelle.Event{Kind: passerelle.Attach, Key: "1", Source: source, Files: []passerelle.File{{Name: "x", Size: 4}}}
}

func TestDownloadStaysWithJira(t *testing.T) {
	for _, source := range []string{
		"https://evil.example/secure/attachment/1/x", "//evil.example/secure/attachment/1/x",
		"http://169.254.169.254/latest/secure/attachment/1/x", "http://user@evil.example/secure/attachment/1/x",
	} {
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			same(t, "host", r.URL.String(), "http://jira.example/jira/secure/attachment/1/x")
			_, _ = fmt.Fprint(w, "data")
		})
		if err := j.Fetch(context.Background(), download(source), &spool{}); err != nil {
			t.Error(source, err)
		}
	}
	j := stub(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	for _, source := range []string{"http://evil.example/x", "file:///etc/passwd", "", "10042", "http://[::1",
		"/rest/api/2/user?username=admin", "/rest/api/2/attachment/content/../../user", "/secure/admin/x", "/secure/attachment/", "/rest/api/2/attachment/content/1/x",
		"/secure/attachment/../../../admin", "/secure/attachment/1/%2e%2e/%2E%2E/x", "/secure/attachment/1/..%2f..%2fx", "/secure/attachment/1/%252e%252e%252fx", `/secure/attachment/1/..%5c..%5cx`, "/secure/attachment/./x"} {
		err := j.Fetch(context.Background(), download(source), &spool{})
		same(t, source, passerelle.ClassOf(err), passerelle.Stuck)
	}
}

// A Cloud keeps its files elsewhere: our account does not go there.
func TestDownloadFromAnotherHostDropsTheAccount(t *testing.T) {
	media := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization")+r.Header.Get("Cookie")+r.Header.Get("Referer") != "" {
			t.Errorf("our account went to another host: %v", r.Header)
		}
		_, _ = fmt.Fprint(w, "data")
	}))
	defer media.Close()
	home := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "gateway" {
			w.WriteHeader(401)
			return
		}
		// Another port of one name is another host, where Go would keep the account.
		http.Redirect(w, r, media.URL+"/x?sig=1", http.StatusSeeOther)
	}))
	defer home.Close()
	j, err := jira.New(jira.Config{BaseURL: home.URL, Cloud: true, User: "gateway", Token: "pw"}, jira.Transport(home.Client().Transport), jira.Elsewhere(media.Client().Transport))
	if err != nil {
		t.Fatal(err)
	}
	s := &spool{}
	if err := j.Fetch(context.Background(), download("/secure/attachment/1/x"), s); err != nil {
		t.Fatal(err)
	}
}

// A redirect is followed below base_url, and from a Cloud once to another host
// over https; never further, nor by a Data Center, nor for anything but a file.
func TestDownloadFollowsFewRedirects(t *testing.T) {
	cloud := func(c *jira.Config) {
		c.BaseURL, c.Cloud, c.Password, c.Token = "https://jira.example/jira", true, "", "t"
	}
	center := func(c *jira.Config) { c.BaseURL = "https://jira.example/jira" }
	for name, c := range map[string]struct {
		flavour func(*jira.Config)
		to      []string // one after the other
		asked   int
		class   passerelle.Class
	}{
		"below the base":              {center, []string{"/jira/secure/attachment/1/y"}, 2, ""},
		"Cloud, another host":         {cloud, []string{"https://media.example/x"}, 2, ""},
		"Cloud, below and then away":  {cloud, []string{"/jira/secure/attachment/1/y", "https://media.example/x"}, 3, ""},
		"Data Center, another host":   {center, []string{"https://media.example/x"}, 1, passerelle.Stuck},
		"Cloud, not https":            {cloud, []string{"http://media.example/x"}, 1, passerelle.Stuck},
		"Cloud, twice away":           {cloud, []string{"https://media.example/x", "https://other.example/x"}, 2, passerelle.Stuck},
		"Cloud, away and back":        {cloud, []string{"https://media.example/x", "https://jira.example/jira/rest/api/2/user?username=a"}, 2, passerelle.Stuck},
		"with an account":             {cloud, []string{"https://a:b@media.example/x"}, 1, passerelle.Stuck},
		"beside the base":             {center, []string{"/confluence/x"}, 1, passerelle.Stuck},
		"the name goes on":            {center, []string{"/jira-admin/x"}, 1, passerelle.Stuck},
		"another port":                {center, []string{"https://jira.example:8443/jira/x"}, 1, passerelle.Stuck},
		"another scheme":              {center, []string{"http://jira.example/jira/x"}, 1, passerelle.Stuck},
		"a circle":                    {center, []string{"/jira/a", "/jira/a", "/jira/a", "/jira/a", "/jira/a", "/jira/a", "/jira/a", "/jira/a"}, 6, passerelle.Stuck},
		"Cloud, the loopback by name": {cloud, []string{"http://localhost/x"}, 1, passerelle.Stuck},
	} {
		asked := 0
		j := stub(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			if given := r.Header.Get("Authorization") != ""; given != (r.URL.Host == "jira.example") {
				t.Errorf("%s: %s: our account is there: %v", name, r.URL, given)
			}
			if asked > len(c.to) {
				_, _ = fmt.Fprint(w, "data")
				return
			}
			http.Redirect(w, r, c.to[asked-1], http.StatusFound)
		}, c.flavour)
		err := j.Fetch(context.Background(), download("/secure/attachment/1/x"), &spool{})
		if c.class == "" && err != nil || c.class != "" && passerelle.ClassOf(err) != c.class {
			t.Errorf("%s: %v, want the class %q", name, err, c.class)
		}
		same(t, name+" asked", asked, c.asked)
	}
}

// What is asked of the API is asked of base_url alone, though the redirect stays
// within the host.
func TestNoRedirectOfTheAPIIsFollowed(t *testing.T) {
	asked := 0
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/jira/rest/api/2/issue/2", http.StatusMovedPermanently)
	})
	_, err := j.Read(context.Background(), "1")
	same(t, "class", passerelle.ClassOf(err), passerelle.Stuck)
	same(t, "asked", asked, 1)
}

func TestDownloadThatEndsAtTheLogin(t *testing.T) {
	b := newBench(t)
	b.jira = b.adapter(func(c *jira.Config) { c.User, c.Password = "", "" })
	b.isError(b.jira.Fetch(context.Background(), download("/secure/attachment/1/x"), b.spool), passerelle.Denied)
}

func TestDownloadNeverLeavesHTTPS(t *testing.T) {
	asked := 0
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "http://media.example/x", http.StatusFound)
	}, func(c *jira.Config) { c.BaseURL = "https://jira.example" })
	err := j.Fetch(context.Background(), download("/secure/attachment/1/x"), &spool{})
	same(t, "class", passerelle.ClassOf(err), passerelle.Stuck)
	same(t, "asked", asked, 1)
}

func TestCloudPagesItsHistory(t *testing.T) {
	const entry = `{"id":"%d","created":"2026-01-0%dT10:00:00.000+0100","author":{"accountId":"a2","displayName":"B"},"items":[{"field":"Statut","fieldId":"status","fieldtype":"jira","from":"1","fromString":"A","to":"%d","toString":"S%d"}]}`
	one := func(n int) string { return fmt.Sprintf(entry, n, n, n, n) }
	answers := map[string]string{
		"/jira/rest/api/2/myself":          `{"accountId":"a1"}`,
		"/jira/rest/api/2/issue/7":         `{"id":"7","key":"P-1","fields":{},"changelog":{"total":3,"histories":[` + one(3) + `]}}`,
		"/jira/rest/api/2/issue/7/comment": `{"total":0,"comments":[]}`,
	}
	j := stub(t, func(w http.ResponseWriter, r *http.Request) {
		text, known := answers[r.URL.Path]
		switch {
		case r.URL.Path == "/jira/rest/api/2/issue/7/changelog" && r.URL.Query().Get("startAt") == "0":
			text = `{"total":3,"isLast":false,"values":[` + one(1) + "," + one(2) + `]}`
		case r.URL.Path == "/jira/rest/api/2/issue/7/changelog":
			text = `{"total":3,"isLast":true,"values":[` + one(3) + `]}`
		case !known:
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = fmt.Fprint(w, text)
	}, func(c *jira.Config) { c.Cloud, c.Password, c.Token = true, "", "t" })
	s, err := j.Read(context.Background(), "7")
	if err != nil {
		t.Fatal(err)
	}
	var signals []string
	for _, e := range s.Events {
		signals = append(signals, e.Signal)
	}
	same(t, "signals", signals, []string{"S1", "S2", "S3"})
}

// Data Center translates the names of fields, and its custom fields may be
// called anything.
func TestTranslatedHistory(t *testing.T) {
	const log = `{"total":2,"histories":[
		{"id":"1","created":"2026-01-01T10:00:00.000+0100","author":{"name":"b"},"items":[{"field":"Statut","fieldtype":"jira","to":"5","toString":"Fini"}]},
		{"id":"2","created":"2026-01-01T10:00:00.000+0100","author":{"name":"b"},"items":[{"field":"status","fieldtype":"custom","to":"6","toString":"Faux"}]}]}`
	answers := map[string]string{
		"/jira/rest/api/2/myself":          `{"name":"gateway","key":"k"}`,
		"/jira/rest/api/2/issue/7":         `{"id":"7","key":"P-1","fields":{},"names":{"status":"Statut"},"changelog":` + log + `}`,
		"/jira/rest/api/2/issue/7/comment": `{"total":0,"comments":[]}`,
	}
	j := stub(t, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, answers[r.URL.Path]) })
	s, err := j.Read(context.Background(), "7")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "events", len(s.Events), 1)
	same(t, "signal", s.Events[0].Signal, "Fini")
}

func TestCloudFlavour(t *testing.T) {
	b := newBench(t, func(f *jirasim.Fixture) {
		f.Flavour = "cloud"
		f.Users[2].Token = "demo-jira-agent"
	})
	b.jira = b.adapter(func(c *jira.Config) {
		c.Cloud, c.User, c.Password, c.Token = true, "gateway@jira.example", "", "demo-jira-gateway-token"
	})
	m := b.creation()
	m.Body = []byte(strings.Replace(string(m.Body), `"reporter": {"name": "Origine Orléans-Tours"},`, "", 1))
	b.fault(fault.Rule{Match: "POST /rest/api/2/issue", Kind: fault.DropAfter, Times: 1})
	b.refuses(m, passerelle.Unsure)
	r, err := b.probe(m)
	if err != nil {
		t.Fatal(err)
	}
	log := b.message("update-private-log", r.Ref.Key, map[string]string{"private_log": "x"})
	same(t, "names", b.deliver(log).Names, b.read(r.Ref.Key).Events[0].Names)
	same(t, "kind", b.read(r.Ref.Key).Events[0].Kind, passerelle.PrivateLog)
}
