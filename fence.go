package passerelle

import "context"

// Fence is the key under which a context holds a func() error that tells whether
// the work under it is still ours to do. A context that ends is told by a timer,
// which comes late in a process that was stopped for a while; the fence looks at
// the clock when it is asked.
type Fence struct{}

// Held returns nil while the work under ctx is ours to do. Ask right before each
// write to a tool: where several gateways share a store, another one may have
// taken the work over.
func Held(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if held, ok := ctx.Value(Fence{}).(func() error); ok {
		return held()
	}
	return nil
}
