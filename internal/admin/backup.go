package admin

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"passerelle/outbox"
)

// Backup answers with a backup of the store as a stream, one at a time: with all
// that the store holds, the texts of the tickets too. What goes wrong before its
// first byte is a JSON error. What goes wrong later breaks the connection off,
// since the 200 is said by then, and stands in the log.
func Backup(s outbox.Store, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &backups{store: s, log: log}
}

type backups struct {
	store outbox.Store
	log   *slog.Logger
	one   sync.Mutex
}

// ServeHTTP implements http.Handler.
func (b *backups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.one.TryLock() {
		fail(w, http.StatusConflict, "another backup is being made: wait for its end")
		return
	}
	defer b.one.Unlock()
	to := newStream(r.Context(), w)
	defer to.end()
	start := time.Now()
	report, err := b.store.Backup(r.Context(), to, nil)
	if err == nil {
		b.log.Info("backup made", "pairs", report.Pairs, "entries", report.Events, "files", report.Files, "missing", len(report.Missing), "bytes", report.Bytes, "seconds", time.Since(start).Seconds())
		return
	}
	b.log.Error("no backup was made", "error", err)
	if to.begun {
		panic(http.ErrAbortHandler) // so that nobody takes it for whole
	}
	fail(w, http.StatusInternalServerError, err.Error())
}

// stall is how long the taker of a backup may take nothing.
const stall = 5 * time.Minute

// stream writes an answer for as long as somebody takes it: not after its context
// ends, and not to one who stands still.
type stream struct {
	ctx   context.Context
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	end   func() bool
}

func newStream(ctx context.Context, w http.ResponseWriter) *stream {
	s := &stream{ctx: ctx, w: w, rc: http.NewResponseController(w)}
	s.end = context.AfterFunc(ctx, func() { _ = s.rc.SetWriteDeadline(time.Now()) }) // frees a write under way
	return s
}

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-tar")
		s.w.Header().Set("Connection", "close") // the deadlines stay with it
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(stall)) // a writer that knows no deadline is a test's
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}
