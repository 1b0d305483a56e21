package conversation

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"passerelle"
	"passerelle/adapters/itop/itopsim"
)

// TestNeverHeardCreateIsEscalated loses the create's webhook, and all after it:
// the sweeps make one issue, of what was written since the one before. The push
// that comes late changes nothing.
func TestNeverHeardCreateIsEscalated(t *testing.T) {
	t.Parallel()
	l := newLookout(t, orleans, nil)
	l.hands(l.ticket()) // there was a sweep that found something
	l.rest()
	l.nextSecond()
	l.forget()
	l.mute.Store(true)
	ticket := l.ticket()
	old := func(log, text string) string {
		return fmt.Sprintf(`"%s": {"add_item": {"message": "<p>%s</p>", "date": "%s"}}`, log, text, l.local(time.Now().Add(-2*time.Hour)))
	}
	l.update(ticket, old("public_log", "public d'avant")+","+old("private_log", "note d'avant"))
	l.hands(ticket)
	l.update(ticket, `"public_log": "<p>première précision</p>"`)
	l.update(ticket, `"private_log": "<p>note de maintenant</p>"`)
	l.update(ticket, `"public_log": "<p>seconde précision</p>"`)
	l.attach(ticket, "écran.txt")
	l.until("the escalation", func() bool {
		found, err := l.store.Find(l.ctx, l.contract.Name, passerelle.Requester, ticket)
		return err == nil && found.Partner.Key != ""
	})
	l.rest()
	check := func(when string) {
		t.Helper()
		for words, want := range map[string]int{"issue\n": 1, "comment\n première précision": 1, "comment\n seconde précision": 1, "attachments\n écran.txt": 1, "d'avant": 0} {
			if n := l.wrote(passerelle.Partner, strings.Split(words, " ")...); n != want {
				t.Errorf("%s: %q was written %d times in Jira, want %d", when, words, n, want)
			}
		}
		if n := l.wrote(passerelle.Requester, "provider_ref"); n != 1 {
			t.Errorf("%s: the number was written %d times, want once", when, n)
		}
	}
	check("found")
	l.inTurn(passerelle.Partner, "/comment\n", "première précision", "seconde précision")
	before := l.stories()
	l.mute.Store(false)
	late := 0
	for _, s := range l.tools[passerelle.Requester].ITop.Sent() {
		if s.Status == 0 { // nobody heard it
			_, err := l.post(passerelle.Requester, s.Payload)
			l.must(err)
			late++
		}
	}
	if late != 5 { // the create, three entries and the file
		t.Errorf("%d pushes were lost", late)
	}
	l.rest()
	check("pushed late")
	if after := l.stories(); after != before {
		t.Errorf("what was pushed late is another fact: the stories were\n%s\nand are\n%s", before, after)
	}
	if t.Failed() {
		t.Log(l.written())
	}
}

// TestNeverHeardCreateLeavesPrivateNotes: R29 leaves the private journal behind.
// Of a ticket whose create nobody heard no one knows which notes were written
// before it was handed over.
func TestNeverHeardCreateLeavesPrivateNotes(t *testing.T) {
	t.Parallel()
	l := newLookout(t, orleans, nil)
	l.hands(l.ticket()) // there was a sweep that found something
	l.rest()
	l.nextSecond()
	l.forget()
	l.mute.Store(true)
	ticket := l.ticket()
	l.update(ticket, `"private_log": "<p>entre nous avant</p>"`)
	l.hands(ticket)
	l.until("the escalation", func() bool {
		found, err := l.store.Find(l.ctx, l.contract.Name, passerelle.Requester, ticket)
		return err == nil && found.Partner.Key != ""
	})
	l.rest()
	if n := l.wrote(passerelle.Partner, "entre nous avant"); n != 0 {
		t.Errorf("a private note of before the escalation was written %d times in Jira [R29]", n)
	}
	l.update(ticket, `"private_log": "<p>entre agents ensuite</p>"`)
	l.until("the note", func() bool { return l.wrote(passerelle.Partner, "/comment\n", "entre agents ensuite") > 0 })
	l.rest()
	if n := l.wrote(passerelle.Partner, "/comment\n", "entre agents ensuite"); n != 1 {
		t.Errorf("the note of after the escalation was written %d times in Jira, want once [R12]", n)
	}
}

// TestSweepLeavesAloneWhatItDoesNotKnow: what names a partner's ticket already was
// carried by somebody else, and what stood with the team before the first sweep
// was perhaps carried too. Nothing is made of them, and the log says so of the
// first.
func TestSweepLeavesAloneWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	l := newLookout(t, orleans, func(l *lookout) {
		l.holds(standing(900, time.Now().Add(-3*time.Hour)), standing(901, time.Now().Add(-10*time.Minute)), standing(902, time.Now().Add(-2*time.Second)))
	})
	l.swept(2)
	l.mute.Store(true)
	ticket := l.ticket()
	l.update(ticket, `"provider_ref": "GSN1-77", "provider_id": "10077"`)
	l.hands(ticket)
	l.swept(5)
	for key, why := range map[string]string{"900": "stood with the team three hours before the first sweep", "901": "stood with the team ten minutes before the first sweep",
		"902": "stood with the team two seconds before the first sweep", ticket: "names a partner's ticket"} {
		if found, err := l.store.Find(l.ctx, l.contract.Name, passerelle.Requester, key); err == nil {
			t.Errorf("ticket %s was escalated, though it %s: %+v", key, why, found)
		}
	}
	if n := l.wrote(passerelle.Partner) + l.wrote(passerelle.Requester); n > 0 {
		t.Errorf("%d writes:\n%s", n, l.written())
	}
	told := 0
	for line := range strings.Lines(l.logged.String()) {
		if strings.Contains(line, "names a partner's ticket") && strings.Contains(line, "key="+ticket) && strings.Contains(line, "GSN1-77") {
			told++
		}
	}
	if told == 0 {
		t.Error("the log says nothing of it")
	}
	t.Logf("%d sweeps said so %d times", l.sweepsEnded(passerelle.Requester), told)
}

// TestRefusedCreateIsNotedOnce hands over a ticket that the contract refuses, heard
// or not: however often it is found, its people are told once.
func TestRefusedCreateIsNotedOnce(t *testing.T) {
	for name, mute := range map[string]bool{"heard": false, "unheard": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLookout(t, orleans, nil)
			other := l.ticket()
			l.hands(other)
			l.rest()
			l.nextSecond()
			l.forget()
			l.mute.Store(mute)
			ticket := l.ticket()
			l.update(ticket, `"establishment_id": 0`) // R3
			l.hands(ticket)
			l.until("the refusal", func() bool { return l.wrote(requester, "private_log", `"key": "`+ticket+`"`) > 0 })
			for i := range 2 {
				l.nextSecond()
				l.update(other, fmt.Sprintf(`"public_log": "<p>entretemps %d</p>"`, i)) // the time of the latest change moves on
				l.swept(3)
			}
			if n := l.wrote(requester, "private_log", `"key": "`+ticket+`"`); n != 1 {
				t.Errorf("its people were told %d times, want once", n)
			}
			refused := strings.Count(l.stories(), "refused at turn")
			if refused != 1 {
				t.Errorf("%d refusals are stored, want one", refused)
			}
			l.update(ticket, `"establishment_id": 301`)
			l.until("its issue", func() bool { return l.wrote(partner, "/rest/api/2/issue\n") == 1 })
		})
	}
}

// nextSecond waits until what happens is later than what sweeps have found, by
// iTop's dates.
func (l *lookout) nextSecond() {
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
}

// standing is a ticket that stands with the partner's team since long ago.
func standing(id int, at time.Time) itopsim.Object {
	zone, _ := time.LoadLocation("Europe/Paris") // tests have it
	return itopsim.Object{Class: "UserRequest", ID: id, Fields: map[string]any{"ref": fmt.Sprintf("R-%06d", id), "title": "Accès impossible", "description": "<p>Bonjour</p>",
		"org_id": 10.0, "caller_id": 101.0, "beneficiary_id": 101.0, "establishment_id": 301.0, "customer_app_id": 4.0, "servicesubcategory_id": 532.0, "urgency": "4", "impact": "3",
		"status": "cex", "team_id": 202.0, "sumit_team_id": 202.0, "last_update": at.In(zone).Format("2006-01-02 15:04:05")}}
}

// holds has the requester's iTop begin with tickets.
func (l *lookout) holds(tickets ...itopsim.Object) {
	l.t.Helper()
	data, err := os.Open(filepath.Join(orleans, "demo", l.stage.Requester.Data))
	l.must(err)
	defer data.Close()
	fixture, err := itopsim.Load(data)
	l.must(err)
	fixture.Objects = append(fixture.Objects, tickets...)
	l.tools[passerelle.Requester].ITop, err = itopsim.New(fixture)
	l.must(err)
}

// local is a time as the tools' people read it.
func (l *lookout) local(at time.Time) string {
	zone, err := time.LoadLocation(l.contract.Timezone)
	l.must(err)
	return at.In(zone).Format("2006-01-02 15:04:05")
}

// inTurn checks that texts were written in their order, each once.
func (l *lookout) inTurn(side passerelle.Side, log string, texts ...string) {
	l.t.Helper()
	e := l.ears[side]
	e.mu.Lock()
	defer e.mu.Unlock()
	var got []string
	for _, w := range e.list {
		for _, text := range texts {
			if strings.Contains(w, log) && strings.Contains(w, text) {
				got = append(got, text)
			}
		}
	}
	if !slices.Equal(got, texts) {
		l.t.Errorf("the %s heard %q, want %q", side, got, texts)
	}
}
