package main

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// way is how a request comes to the partner's tool, and its answer back.
type way func(tool http.Handler, w http.ResponseWriter, r *http.Request)

// slow is a tool that needs that long for each answer.
func slow(d time.Duration) *way {
	out := way(func(tool http.Handler, w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		tool.ServeHTTP(w, r)
	})
	return &out
}

// failing has that share of the requests answered 503, by chance: one half before
// they take effect, the other half after, by a proxy that lost the answer.
func failing(share float64, seed uint64) *way {
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(seed, 0))
	out := way(func(tool http.Handler, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		x := chance.Float64()
		mu.Unlock()
		if x >= share {
			tool.ServeHTTP(w, r)
			return
		}
		if x >= share/2 {
			tool.ServeHTTP(lost{http.Header{}}, r)
		}
		http.Error(w, "not now", http.StatusServiceUnavailable)
	})
	return &out
}

// lost is an answer that does not arrive.
type lost struct{ header http.Header }

func (l lost) Header() http.Header         { return l.header }
func (l lost) Write(b []byte) (int, error) { return len(b), nil }
func (l lost) WriteHeader(int)             {}
