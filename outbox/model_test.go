package outbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"passerelle"
)

// model is what a store should be, in the plainest way: lists, and loops over
// all of them. It shares no code with the stores.
type model struct {
	links   []*passerelle.Link
	entries []*Entry
	names   map[Name]bool
	looks   map[Look]*Look // by contract, side and key
	reading map[Look]bool  // looks handed out
	pins    map[string]int
	kept    map[string]string
	rests   map[string]int64 // link → since when it is at rest and not purged, in seconds
	own     int              // the last own number given
}

func newModel() *model {
	return &model{names: map[Name]bool{}, looks: map[Look]*Look{}, reading: map[Look]bool{}, pins: map[string]int{}, kept: map[string]string{}, rests: map[string]int64{}}
}

// copyOf is a deep copy.
func copyOf[T any](v *T) *T {
	if v == nil {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c := new(T)
	if err := json.Unmarshal(raw, c); err != nil {
		panic(err)
	}
	return c
}

func (m *model) find(contract string, side passerelle.Side, key string) *passerelle.Link {
	for _, l := range slices.Backward(m.links) {
		if r := l.Ref(side); l.Contract == contract && key != "" && (r.Key == key || r.Number == key) {
			return l
		}
	}
	return nil
}

func (m *model) link(id string) *passerelle.Link {
	return m.find2(func(l *passerelle.Link) bool { return l.ID == id })
}

func (m *model) find2(is func(*passerelle.Link) bool) *passerelle.Link {
	if i := slices.IndexFunc(m.links, is); i >= 0 {
		return m.links[i]
	}
	return nil
}

// append expects what Append makes of a change that is well formed; it returns
// the error, and changes c as a store should.
func (m *model) append(c *Change) error {
	for _, n := range c.Names {
		if m.names[n] {
			return ErrSeen
		}
	}
	if l := c.Link; l != nil {
		if l.Version == 0 {
			known := m.find(l.Contract, passerelle.Requester, l.Requester.Key)
			if l.Requester.Key != "" && (known != nil && known.ID != c.Follows || known == nil && c.Follows != "") {
				return ErrConflict
			}
			if n, _ := strconv.Atoi(l.ID); n > m.own {
				return errNeverGiven
			}
			if m.link(l.ID) != nil {
				return ErrConflict
			}
		} else if old := m.link(l.ID); old == nil || old.Version != l.Version {
			return ErrConflict
		}
		m.putLink(c)
	}
	for _, e := range c.Entries {
		m.putEntry(e, c.Link)
	}
	m.see(c.Names)
	m.addLooks(c.Looks)
	return nil
}

func (m *model) putLink(c *Change) {
	if c.Link.Version == 0 {
		if c.Link.ID == "" {
			m.own++
			c.Link.ID, c.Link.Own = fmt.Sprint(m.own), passerelle.Ref{}
		}
		n, _ := strconv.Atoi(c.Link.ID)
		number := c.Link.ID
		if c.OwnFormat != "" {
			number = fmt.Sprintf(c.OwnFormat, n)
		}
		c.Link.Own = passerelle.Ref{Key: c.Link.ID, Number: cmp.Or(c.Link.Own.Number, number)}
	}
	m.rest(c.Link, m.link(c.Link.ID))
	c.Link.Version++
	m.links = slices.DeleteFunc(m.links, func(l *passerelle.Link) bool { return l.ID == c.Link.ID })
	m.links = append(m.links, copyOf(c.Link))
	slices.SortFunc(m.links, func(a, b *passerelle.Link) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) // as numbers
	})
}

// rest notes since when a link is at rest: since it came into that state, or since
// it was written after a purge.
func (m *model) rest(l, old *passerelle.Link) {
	_, known := m.rests[l.ID]
	switch {
	case l.State != passerelle.Closed && l.State != passerelle.Rejected && l.State != passerelle.Left && l.State != passerelle.New:
		delete(m.rests, l.ID)
	case old == nil || old.State != l.State || !known:
		m.rests[l.ID] = time.Now().Unix()
	}
}

// resting are the links at rest since before a moment, the longest first.
func (m *model) resting(before time.Time) []*passerelle.Link {
	var found []*passerelle.Link
	for _, l := range m.links { // by number
		if since, ok := m.rests[l.ID]; ok && since < before.Unix() {
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b *passerelle.Link) int { return cmp.Compare(m.rests[a.ID], m.rests[b.ID]) })
	return found
}

// purge expects what Purge does to a link; it returns the error.
func (m *model) purge(id string, o PurgeOrder) (*Purged, error) {
	l, did := m.link(id), &Purged{}
	if l == nil {
		return nil, passerelle.ErrNotFound
	}
	if !AtRest(l.State) && !o.Force {
		return nil, ErrAwake
	}
	for _, e := range m.entries {
		if e.Link == id && !e.Status.Final() && !o.Force {
			return nil, ErrUnsettled
		}
	}
	for _, e := range m.entries {
		if e.Link == id {
			m.strip(e, did)
		}
	}
	first := l.Purged.IsZero()
	l.Version++
	if l.Purged = time.Now(); AtRest(l.State) {
		maps.DeleteFunc(l.Facts, func(name, _ string) bool { return !slices.Contains(o.Keep, name) })
	}
	if _, known := m.rests[id]; did.Waiting > 0 && AtRest(l.State) && !known {
		m.rests[id] = time.Now().Unix()
	} else if did.Waiting == 0 {
		delete(m.rests, id)
	}
	if d := o.Decision; first || did.Entries > 0 {
		d.Verb, d.At = "purge", time.Now()
		m.putEntry(&Entry{Terms: l.Terms, State: l.State, Turn: l.Turn, Rule: PurgeRule, Status: Done, Note: fmt.Sprintf("purged: %d entries, %d bytes", did.Entries, did.Bytes),
			Event: &passerelle.Event{Contract: l.Contract, From: passerelle.Broker, Kind: passerelle.Note, At: time.Now()}, Decisions: []Decision{d}}, l)
	}
	return did, nil
}

// strip takes the words out of one entry.
func (m *model) strip(e *Entry, did *Purged) {
	if !e.Status.Final() {
		did.Waiting++
		return
	}
	named := slices.ContainsFunc(e.Event.Files, func(f passerelle.File) bool { return f.Name+f.MIME != "" })
	if len(e.Event.Fields) == 0 && !named && e.Error == "" {
		return
	}
	if did.Entries++; named {
		did.Files += len(e.Event.Files)
	}
	if e.Trace == nil || len(e.Event.Fields) > 0 {
		e.Trace = &Trace{}
	}
	for _, v := range e.Event.Fields {
		e.Trace.Bytes += int64(len(v))
		did.Bytes += int64(len(v))
	}
	sum := func(v any) string {
		raw, _ := json.Marshal(v)
		return fmt.Sprintf("%x", sha256.Sum256(raw))
	}
	if len(e.Event.Fields) > 0 {
		e.Trace.Sum = sum(e.Event.Fields)
	}
	if e.Error != "" {
		e.Trace.Error = fmt.Sprintf("%x", sha256.Sum256([]byte(e.Error)))
	}
	if e.Trace.Purged, e.Error = time.Now(), ""; named || len(e.Event.Fields) > 0 {
		e.Note = ""
	}
	e.Event.Fields, e.Event.Source = nil, ""
	for i := range e.Event.Files {
		e.Event.Files[i].Name, e.Event.Files[i].MIME = "", ""
	}
}

func (m *model) putEntry(e *Entry, l *passerelle.Link) {
	e.ID, e.Schema, e.Created = uint64(len(m.entries)+1), EntrySchema, time.Now()
	if l != nil {
		e.Link, e.Contract = cmp.Or(e.Link, l.ID), cmp.Or(e.Contract, l.Contract)
	}
	if e.Status == "" {
		e.Status = Done
		if e.To != "" {
			e.Status = Waiting
		}
	}
	if e.Status != Waiting {
		e.Settled = time.Now()
	}
	m.entries = append(m.entries, copyOf(e))
}

func (m *model) see(names []Name) {
	for _, n := range names {
		m.names[n] = true
	}
}

func lookID(l Look) Look { return Look{Contract: l.Contract, Side: l.Side, Key: l.Key} }

// look is one hint. What waits already, due by then, and is not being followed
// serves for it too.
func (m *model) look(l Look) {
	by := l.Before
	if by.IsZero() {
		by = time.Now()
	}
	if old := m.looks[lookID(l)]; old == nil || m.reading[lookID(l)] || old.Before.After(by) {
		m.addLooks([]Look{l})
	}
}

func (m *model) addLooks(looks []Look) {
	for _, l := range looks {
		k := lookID(l)
		old := m.looks[k]
		if old == nil {
			n := k
			n.Count, n.Since, n.Before = 1, time.Now(), l.Before
			m.looks[k] = &n
			continue
		}
		old.Count++
		if old.Tries == 0 && l.Before.Before(old.Before) {
			old.Before = l.Before
		}
	}
}

// lookDue is the look that a store should hand out now.
func (m *model) lookDue(d Dest) *Look {
	var best *Look
	for k, l := range m.looks {
		if (Dest{l.Contract, l.Side}) != d || m.reading[k] || l.Before.After(time.Now()) {
			continue
		}
		if best == nil || cmp.Or(orElse(l.Before, l.Since).Compare(orElse(best.Before, best.Since))) < 0 {
			best = l
		}
	}
	return best
}

func orElse(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

func (m *model) looked(l *Look, again time.Time, err error) {
	k := lookID(*l)
	delete(m.reading, k)
	old := m.looks[k]
	switch newer := old.Count != l.Count; {
	case err != nil:
		old.Before, old.Error, old.Tries = again, err.Error(), old.Tries+1
	case newer:
		old.Before, old.Since, old.Tries, old.Error = time.Time{}, time.Now(), 0, ""
	case again.IsZero():
		delete(m.looks, k)
	default:
		old.Before, old.Tries, old.Error = again, 0, ""
	}
}

// heads are the first entries of all lanes, by what is due first.
func (m *model) heads(d Dest) []*Entry {
	met := map[string]bool{}
	var heads []*Entry
	for _, e := range m.entries {
		if (Dest{e.Contract, e.To}) == d && !e.Status.Final() && !met[e.Link] {
			met[e.Link] = true
			heads = append(heads, e)
		}
	}
	return heads
}

// due is the entry that Next should lend now, nil for none.
func (m *model) due(d Dest) *Entry {
	heads := slices.DeleteFunc(m.heads(d), func(e *Entry) bool {
		return e.Status != Waiting || e.Before.After(time.Now())
	})
	if len(heads) == 0 {
		return nil
	}
	return slices.MinFunc(heads, func(a, b *Entry) int {
		return cmp.Or(orElse(a.Before, a.Created).Compare(orElse(b.Before, b.Created)), cmp.Compare(a.ID, b.ID))
	})
}

func (m *model) entry(id uint64) *Entry {
	if id == 0 || id > uint64(len(m.entries)) {
		return nil
	}
	return m.entries[id-1]
}

func (m *model) lend(e *Entry) {
	e.Status = Lent
	e.Lend++
}

func (m *model) lost(e *Entry) bool {
	old := m.entry(e.ID)
	return old.Status != Lent || old.Lend != e.Lend
}

func (m *model) sent(e *Entry, parts int, names []Name) error {
	if m.lost(e) {
		return ErrLost
	}
	m.entry(e.ID).Parts = max(parts, m.entry(e.ID).Parts)
	m.wrote(m.entry(e.ID), names)
	m.see(names)
	return nil
}

func (m *model) wrote(e *Entry, names []Name) {
	for _, n := range names {
		if n.Side == e.To && !slices.Contains(e.Wrote, n.Name) {
			e.Wrote = append(e.Wrote, n.Name)
		}
	}
}

func (m *model) settle(e *Entry, o Outcome) error {
	if m.lost(e) {
		return ErrLost
	}
	old := m.entry(e.ID)
	old.Status, old.Probe = o.To, o.Probe
	if o.Charge {
		if old.Attempts++; old.Tried.IsZero() {
			old.Tried = time.Now()
		}
	}
	if o.To == Waiting {
		old.Before = o.Before
	} else {
		old.Settled = time.Now()
	}
	if o.Error != "" || o.Class != "" {
		old.Class, old.Error = o.Class, o.Error
	}
	old.Note = cmp.Or(o.Note, old.Note)
	l := m.link(old.Link)
	m.wrote(old, o.Names)
	m.teach(l, old.To, o)
	for _, f := range o.Follow {
		m.putEntry(f, l)
	}
	m.see(o.Names)
	m.addLooks(o.Looks)
	return nil
}

func (m *model) teach(l *passerelle.Link, to passerelle.Side, o Outcome) {
	before := copyOf(l)
	if o.Ref != (passerelle.Ref{}) {
		l.SetRef(to, o.Ref)
	}
	if o.Shown > l.Shown[to] {
		if l.Shown == nil {
			l.Shown = map[passerelle.Side]uint64{}
		}
		l.Shown[to] = o.Shown
	}
	if before.Ref(to) != l.Ref(to) || before.Shown[to] != l.Shown[to] {
		m.rest(l, before)
		l.Version++
	}
}

func (m *model) retry(id uint64, d Decision) error {
	e := m.entry(id)
	if e == nil {
		return passerelle.ErrNotFound
	}
	if e.Status != Parked && e.Status != Waiting {
		return ErrNotParked
	}
	e.Status, e.Attempts, e.Before, e.Settled, e.Tried = Waiting, 0, time.Time{}, time.Time{}, time.Time{}
	e.Terms = cmp.Or(d.Terms, e.Terms)
	m.decided(e, d, "retry")
	return nil
}

func (m *model) drop(id uint64, d Decision) error {
	e := m.entry(id)
	if e == nil {
		return passerelle.ErrNotFound
	}
	if e.Status != Parked {
		return ErrNotParked
	}
	e.Status, e.Settled = Dropped, time.Now()
	m.decided(e, d, "drop")
	return nil
}

func (m *model) decided(e *Entry, d Decision, verb string) {
	d.Verb, d.At = verb, orElse(d.At, time.Now())
	e.Decisions = append(e.Decisions, d)
}

// reopen is what becomes of it all when the store is closed, or dies, and is
// opened again.
func (m *model) reopen() {
	for _, e := range m.entries {
		if e.Status == Lent {
			e.Status, e.Probe = Waiting, true
		}
	}
	m.reading, m.pins = map[Look]bool{}, map[string]int{}
}

// files are the sums whose bytes should be there.
func (m *model) files() map[string]bool {
	there := map[string]bool{}
	for sum, n := range m.pins {
		if n > 0 {
			there[sum] = true
		}
	}
	for _, e := range m.entries {
		for _, f := range e.Event.Files {
			if !e.Status.Final() {
				there[f.Sum] = true
			}
		}
	}
	return there
}

func (m *model) stats() *Stats {
	st := &Stats{
		ByStatus:      map[Dest]map[Status]int{},
		OldestWaiting: map[Dest]time.Time{},
		Blocked:       map[Dest]int{},
		Looks:         len(m.looks),
	}
	for _, e := range m.entries {
		d := Dest{e.Contract, e.To}
		if e.Status.Final() {
			continue
		}
		if st.ByStatus[d] == nil {
			st.ByStatus[d], st.OldestWaiting[d] = map[Status]int{}, e.Created
			for _, h := range m.heads(d) {
				if h.Status == Parked {
					st.Blocked[d]++
				}
			}
		}
		st.ByStatus[d][e.Status]++
	}
	return st
}

func (m *model) query(q Query) []*Entry {
	var found []*Entry
	for _, e := range m.entries {
		if (q.Link == "" || q.Link == e.Link) && (q.Contract == "" || q.Contract == e.Contract) && (q.To == "" || q.To == e.To) &&
			(len(q.Status) == 0 || slices.Contains(q.Status, e.Status)) && e.ID > q.After &&
			(q.Limit == 0 || len(found) < q.Limit) {
			found = append(found, e)
		}
	}
	return found
}
