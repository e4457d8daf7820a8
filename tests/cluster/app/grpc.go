package main

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// grpc is `Check` of grpc.health.v1.Health, for the server as a whole and for service `hello`: as healthy as `/healthz`. The messages have one
// field each, which is no reason for a library.
func (a *app) grpc(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	asked, err := io.ReadAll(io.LimitReader(r.Body, 1024))
	if err != nil {
		return
	}
	service := ""
	if len(asked) > 7 { // prefix, tag and length
		service = string(asked[7:])
	}
	if service != "" && service != "hello" {
		w.Header().Set("Grpc-Status", "5")
		return
	}
	a.count(func() { a.probes++ })
	v := a.view()
	if !a.wait(r, v.settings.slow) {
		return
	}
	health := v.settings.health
	if !v.failing {
		health = okStatus
	}
	serving := byte(1)
	switch {
	case health == "hang":
		a.wait(r, 24*time.Hour)
		return
	case health == "refuse":
		panic(http.ErrAbortHandler)
	case strings.HasPrefix(health, "4"), strings.HasPrefix(health, "5"):
		serving = 2
	}
	w.Header().Set("Trailer", "Grpc-Status")
	w.Write([]byte{0, 0, 0, 0, 2, 8, serving}) //nolint:errcheck // the client has gone
	w.Header().Set("Grpc-Status", "0")
}
