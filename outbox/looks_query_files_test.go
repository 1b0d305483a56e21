package outbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"passerelle"
)

func TestLooks(t *testing.T) {
	eachStore(t, func(r *rig) {
		hint := Look{Contract: deal, Side: passerelle.Partner, Key: "10042"}
		r.look(hint)
		r.look(hint)
		l := r.nextLook(toPartner)
		if l.Count != 1 {
			r.Errorf("two hints, of which one was enough, are %+v", l)
		}
		r.look(hint) // while the ticket is being read
		if l2 := r.nextLook(toPartner); l2 != nil {
			r.Errorf("handed out twice: %+v", l2)
		}
		r.looked(l, time.Time{}, nil)
		l = r.nextLook(toPartner)
		if l == nil {
			r.Fatal("a hint during the reading is lost")
		}
		r.looked(l, time.Now().Add(time.Minute), errors.New("503"))
		r.look(hint)
		if l := r.nextLook(toPartner); l != nil {
			r.Errorf("due before its time: %+v", l)
		}
		r.reopen()
		if l := r.nextLook(toPartner); l != nil {
			r.Errorf("due before its time after a restart: %+v", l)
		}
		time.Sleep(time.Minute)
		if r.nextLook(toPartner) == nil {
			r.Error("not due after its time")
		}
		r.reopen() // nobody has read it
		l = r.nextLook(toPartner)
		r.looked(l, time.Now().Add(time.Hour), nil)
		r.look(hint) // brings it forward
		r.looked(r.nextLook(toPartner), time.Time{}, nil)
		later := hint
		later.Before = time.Now().Add(time.Hour)
		r.look(later)
		if l := r.nextLook(toPartner); l != nil {
			r.Errorf("a hint for later is due: %+v", l)
		}
		if err := r.s.Looked(r.ctx, &Look{Contract: deal, Key: "?"}, time.Time{}, nil); !errors.Is(err, ErrLost) {
			r.Errorf("looked at nothing: %v", err)
		}
		r.must(r.append(&Change{Looks: []Look{{Contract: deal, Side: passerelle.Requester, Key: "10042"}}}))
		r.nextLook(toPartner)
	})
}

func TestQueries(t *testing.T) {
	eachStore(t, func(r *rig) {
		var es []*Entry
		for i := range 3*page + 7 {
			es = append(es, anEntry([]passerelle.Side{passerelle.Partner, passerelle.Requester, ""}[i%3], "x"))
		}
		a := r.ticket("10", es...)
		b := aLink("11")
		b.Contract = "other"
		r.must(r.append(&Change{Link: b, Entries: []*Entry{anEntry(passerelle.Partner, "b")}}))
		r.must(r.settle(r.lend(toPartner), Outcome{To: Parked}))
		r.lend(toRequester)
		for _, q := range []Query{
			{Link: a.ID, Limit: page}, {Link: a.ID, After: 3, Limit: 5}, {Link: "77"}, {Link: "x"},
			{Contract: "other"}, {Contract: deal, Status: []Status{Done}}, {After: uint64(len(es))},
			{Status: []Status{Parked, Lent}, Limit: 1}, {Status: []Status{Waiting, Lent, Waiting}, After: 100},
			{Status: []Status{Waiting, Done}, After: 9, Limit: 3*page - 20}, {After: 1 << 63}, {After: 1<<64 - 1},
			{Link: a.ID, Contract: "other"}, {Limit: page + 1},
			{To: passerelle.Requester}, {To: passerelle.Partner, Status: []Status{Lent, Parked}}, {Contract: "other", Status: []Status{Waiting}},
			{Contract: deal, To: passerelle.Requester, Status: []Status{Lent, Waiting}, After: 20, Limit: page + 3},
			{Link: a.ID, Status: []Status{Lent, Parked}}, {Link: a.ID, To: passerelle.Partner, Status: []Status{Waiting}}, {Link: a.ID, Status: []Status{Waiting, Done}},
		} {
			r.query(q)
		}
		if _, err := r.s.Entry(r.ctx, 1<<40); !errors.Is(err, passerelle.ErrNotFound) {
			r.Errorf("no such entry: %v", err)
		}
		for e := range r.s.Entries(r.ctx, Query{}) { // a reader that writes
			r.must(r.append(&Change{Looks: []Look{{Contract: deal, Key: fmt.Sprint(e.ID)}}}))
			if e.ID == 300 {
				break
			}
		}
	})
}

func TestFiles(t *testing.T) {
	eachStore(t, func(r *rig) {
		f := r.put("logo.gif")
		r.release(r.put("logo.gif")) // once more, and done with
		if r.fileText(f.Sum) != "logo.gif" {
			r.Fatal("a pinned file is gone")
		}
		f.Name, f.MIME = "logo.gif", "image/gif"
		l := r.ticket("10", anEntry(passerelle.Partner, "file", f, f), anEntry(passerelle.Requester, "file", f), anEntry("", "file", f))
		r.release(f)
		r.release(f) // one time too many
		r.readBack()
		r.reopen()
		if r.fileText(f.Sum) != "logo.gif" {
			r.Fatal("a file that two entries carry is gone")
		}
		r.must(r.settle(r.lend(toPartner), Outcome{To: Done}))
		r.must(r.settle(r.lend(toRequester), Outcome{To: Parked}))
		r.readBack()
		r.add(l, anEntry(passerelle.Partner, "refers to what is there", f))
		r.must(r.drop(2, who))
		r.readBack()
		g := r.put("logo.gif")
		r.must(r.settle(r.lend(toPartner), Outcome{To: Superseded}))
		if r.fileText(f.Sum) == "" {
			r.Fatal("a file put again is gone")
		}
		r.release(g)
		if r.fileText(f.Sum) != "" {
			r.Fatal("a file that nobody needs is there")
		}
		h := r.put("gone with its only entry")
		r.add(l, anEntry(passerelle.Requester, "file", h))
		r.release(h)
		r.must(r.settle(r.lend(toRequester), Outcome{To: Done}))
		if r.fileText(h.Sum) != "" {
			r.Fatal("a file whose only entry is final is there")
		}
		orphan := r.put("never accepted")
		r.reopen()
		if r.fileText(orphan.Sum) != "" {
			r.Fatal("a file without reference outlives a restart")
		}
		for _, sum := range []string{"", "../../etc/passwd", strings.Repeat("A", 64), strings.Repeat("a", 64)} {
			if _, err := r.s.Files().Open(sum); !errors.Is(err, passerelle.ErrNotFound) {
				r.Errorf("file %q: %v", sum, err)
			}
		}
		if _, err := r.s.Files().Put(r.ctx, &broken{}); !errors.Is(err, errBroken) {
			r.Errorf("a reader that breaks: %v", err)
		}
	})
}

var errBroken = errors.New("broken")

type broken struct{ n int }

func (b *broken) Read(p []byte) (int, error) {
	if b.n++; b.n > 3 {
		return 0, errBroken
	}
	return len(p), nil
}
