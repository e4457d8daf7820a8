package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

type app struct {
	pod     string
	started time.Time
	front   front
	abandon chan struct{} // closed when answers that never end must end

	mu       sync.Mutex
	settings settings
	failFrom time.Time // `fail` and `health` apply from here
	crash    *time.Timer
	draining bool
	requests int
	failed   int
	inFlight int
	probes   int
	badSince time.Time // first answer to a health check that was 400 or more since the last /set; zero: none
}

// view is what one request needs, taken at one moment.
type view struct {
	settings settings
	failing  bool
	draining bool
}

func newApp(s settings, pod string, started time.Time) *app {
	a := &app{pod: pod, started: started, abandon: make(chan struct{}), settings: s}
	app := http.NewServeMux()
	if s.anyPath {
		app.HandleFunc("/", a.root)
	} else {
		app.HandleFunc("GET /{$}", a.root)
	}
	app.HandleFunc("GET /healthz", a.healthz)
	app.HandleFunc("GET /ready", a.ready)
	app.HandleFunc("POST /grpc.health.v1.Health/Check", a.grpc)
	a.front.server = &http.Server{Addr: fmt.Sprintf(":%d", s.port), Handler: a.draw(app), Protocols: new(http.Protocols)}
	a.front.server.Protocols.SetHTTP1(true)
	a.front.server.Protocols.SetUnencryptedHTTP2(true)
	a.arm(started)
	return a
}

// health is the handler of the health port: what a kubelet asks, away from the traffic.
func (a *app) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /ready", a.ready)
	mux.HandleFunc("GET /readiness", a.ready)
	return mux
}

// arm starts the clocks of `fail_after` and `crash_after` at `from`.
func (a *app) arm(from time.Time) {
	a.failFrom = from.Add(a.settings.failAfter)
	if a.crash != nil {
		a.crash.Stop()
		a.crash = nil
	}
	if a.settings.crash {
		log.Fatal("crash")
	}
	if a.settings.crashAfter > 0 {
		a.crash = time.AfterFunc(time.Until(from.Add(a.settings.crashAfter)), func() { log.Fatal("crash_after ", a.settings.crashAfter) })
	}
}

func (a *app) begin() settings {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = true
	return a.settings
}

func (a *app) view() view {
	a.mu.Lock()
	defer a.mu.Unlock()
	failing := !time.Now().Before(a.failFrom) && a.requests >= a.settings.failFrom
	return view{settings: a.settings, failing: failing, draining: a.draining}
}

func (a *app) count(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// draw adds what every answer of the application port has in common.
func (a *app) draw(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.count(func() { a.inFlight++ })
		defer a.count(func() { a.inFlight-- })
		v := a.view()
		// By header, not by SetKeepAlivesEnabled(false): that closes idle connections at once, under a request that is on its way.
		if v.draining || v.settings.refuse {
			w.Header().Set("Connection", "close")
		}
		w.Header().Set("X-Version", v.settings.version)
		w.Header().Set("X-Pod", a.pod)
		next.ServeHTTP(w, r)
	})
}

func (a *app) root(w http.ResponseWriter, r *http.Request) {
	v := a.view()
	if !a.wait(r, v.settings.slow) {
		return
	}
	bad := v.failing && rand.Float64()*100 < v.settings.fail
	a.count(func() {
		a.requests++
		if bad {
			a.failed++
		}
	})
	status := http.StatusOK
	if bad {
		status = http.StatusInternalServerError
	}
	answer(w, status, map[string]string{"version": v.settings.version, "pod": a.pod})
}

func (a *app) healthz(w http.ResponseWriter, r *http.Request) {
	a.count(func() { a.probes++ })
	v := a.view()
	if !a.wait(r, v.settings.slow) {
		return
	}
	health := v.settings.health
	if !v.failing {
		health = okStatus
	}
	switch health {
	case "redirect":
		http.Redirect(w, r, v.settings.redirectTo, http.StatusFound)
	case "hang":
		a.wait(r, 24*time.Hour)
	case "endless":
		chunk := make([]byte, 64<<10)
		for i := range chunk {
			chunk[i] = 'x'
		}
		for {
			select {
			case <-a.abandon:
				return
			default:
			}
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	case "refuse":
		reset(w)
	default:
		status, _ := strconv.Atoi(health) // checked when set
		if status >= http.StatusBadRequest {
			a.count(func() {
				if a.badSince.IsZero() {
					a.badSince = time.Now()
				}
			})
		}
		answer(w, status, map[string]string{"health": health})
	}
}

func (a *app) ready(w http.ResponseWriter, _ *http.Request) {
	v := a.view()
	if v.draining || v.settings.ready != ready {
		answer(w, http.StatusServiceUnavailable, map[string]bool{"ready": false})
		return
	}
	answer(w, http.StatusOK, map[string]bool{"ready": true})
}

// wait is false if the client has gone or the answer must be abandoned. A delay of the ordinary kind is never abandoned.
func (a *app) wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	var abandon chan struct{}
	if d >= time.Hour {
		abandon = a.abandon
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
	case <-abandon:
	}
	return false
}

// reset ends the connection without an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // a reset if possible, else an ordinary close
	}
	conn.Close()
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client has gone
}
