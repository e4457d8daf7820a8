package main

import (
	"net/http"
	"slices"
	"time"
)

// control is the handler of the control port: it works whatever the application port is told to do.
func (a *app) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, a.state()) })
	mux.HandleFunc("POST /set", a.set)
	return mux
}

// set applies all of the query or nothing of it.
func (a *app) set(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	a.mu.Lock()
	changed := a.settings
	timed := false
	var problem string
	for key, values := range query {
		timed = timed || slices.Contains([]string{"fail_after", "crash", "crash_after"}, key)
		if startOnly[key] {
			problem = key + " has a meaning at start only"
		} else if err := changed.set(key, values[len(values)-1]); err != nil {
			problem = err.Error()
		}
	}
	if problem == "" {
		a.settings = changed
		a.badSince = time.Time{}
		if timed {
			a.arm(time.Now())
		}
	}
	a.mu.Unlock()
	if problem != "" {
		answer(w, http.StatusBadRequest, map[string]string{"error": problem})
		return
	}
	if query.Has("refuse") {
		if err := a.front.set(!changed.refuse); err != nil {
			answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
	}
	answer(w, http.StatusOK, a.state())
}

func (a *app) state() map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.settings
	var badSince int64 // Unix milliseconds
	if !a.badSince.IsZero() {
		badSince = a.badSince.UnixMilli()
	}
	return map[string]any{
		"bad_since": badSince, "pod": a.pod, "uptime": time.Since(a.started).String(), "draining": a.draining,
		"requests": a.requests, "failed": a.failed, "in_flight": a.inFlight, "health_checks": a.probes,
		"version": s.version, "ready": s.ready, "fail": s.fail, "fail_after": s.failAfter.String(), "health": s.health,
		"redirect_to": s.redirectTo, "slow": s.slow.String(), "refuse": s.refuse, "crash_after": s.crashAfter.String(),
		"start_delay": s.startDelay.String(), "lame_duck": s.lameDuck.String(), "ignore_term": s.ignoreTerm, "port": s.port,
	}
}
