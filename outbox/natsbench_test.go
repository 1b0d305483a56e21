package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"passerelle"

	"github.com/nats-io/nats-server/v2/server"
)

// benchKinds are the stores that are compared; several gateways are several stores
// on one log.
func benchKinds() map[string]func(b *testing.B, gateways int) []Store {
	shared := func(servers int, sync bool) func(b *testing.B, gateways int) []Store {
		return func(b *testing.B, gateways int) []Store {
			c := startNATS(b, servers, func(o *server.Options) { o.SyncAlways = sync })
			var out []Store
			for i := range gateways {
				out = append(out, c.gateway(fmt.Sprint(i), patiently))
			}
			return out
		}
	}
	return map[string]func(b *testing.B, gateways int) []Store{
		"bolt": func(b *testing.B, _ int) []Store {
			s := openBolt(b, b.TempDir())
			b.Cleanup(func() { s.Close() })
			return []Store{s}
		},
		"nats1":     shared(1, false),
		"nats1sync": shared(1, true),
		"nats3":     shared(3, false),
		"nats3sync": shared(3, true),
	}
}

// BenchmarkSharedAppend is BenchmarkAppend over the kinds of store, by one gateway
// and by three. "rejected" is batches that another gateway's came before, per append.
func BenchmarkSharedAppend(b *testing.B) {
	for _, gateways := range []int{1, 3} {
		for _, kind := range []string{"bolt", "nats1", "nats1sync", "nats3", "nats3sync"} {
			if kind == "bolt" && gateways > 1 {
				continue
			}
			for _, writers := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("%s/gateways=%d/writers=%d", kind, gateways, writers), func(b *testing.B) {
					gs := benchKinds()[kind](b, gateways)
					benchShared(b, gs, max(writers, gateways))
				})
			}
		}
	}
}

func benchShared(b *testing.B, gs []Store, writers int) {
	links := benchLinks(b, gs[0], writers)
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				must(b, gs[w%len(gs)].Append(context.Background(), benchChange(links[w], w, int(i))))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	rejected := 0
	for _, g := range gs {
		st, err := g.Stats(context.Background())
		must(b, err)
		rejected += st.Rejected
	}
	b.ReportMetric(float64(rejected)/float64(b.N), "rejected/op")
}

// BenchmarkSharedFind reads: what the barrier before each reading costs.
func BenchmarkSharedFind(b *testing.B) {
	for _, kind := range []string{"bolt", "nats1", "nats3"} {
		for _, readers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/readers=%d", kind, readers), func(b *testing.B) {
				s := benchKinds()[kind](b, 1)[0]
				benchLinks(b, s, 1)
				b.SetParallelism(readers)
				b.ResetTimer()
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						_, err := s.Find(context.Background(), deal, passerelle.Requester, "0")
						must(b, err)
					}
				})
			})
		}
	}
}
