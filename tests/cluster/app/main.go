// Command hello is the application that Stepgate's tests release: a small HTTP server whose behaviour is chosen at start (arguments, then
// environment) and changed in one pod at run time through its control port.
//
// It stops as a good citizen does: after SIGTERM it keeps serving for `lame_duck`, not ready and closing each connection after its answer,
// then finishes what is in flight. So a failed request in a test is the release's fault and not the application's.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	started := time.Now()
	settings, err := parse(os.Args[1:], os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(2)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)

	app := newApp(settings, podName(), started)
	log.Printf("hello %s, start_delay %s", settings.version, settings.startDelay)
	control, err := net.Listen("tcp", fmt.Sprintf(":%d", settings.controlPort))
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(control, app.control()) //nolint:errcheck // ends with the process
	if settings.healthPort != 0 {
		health, err := net.Listen("tcp", fmt.Sprintf(":%d", settings.healthPort))
		if err != nil {
			log.Fatal(err)
		}
		go http.Serve(health, app.health()) //nolint:errcheck // ends with the process
	}

	select {
	case <-time.After(settings.startDelay):
		if settings.tlsPort != 0 {
			if err := app.encrypted(settings.tlsPort); err != nil {
				log.Fatal(err)
			}
		}
		if err := app.front.set(!settings.refuse); err != nil {
			log.Fatal(err)
		}
		<-terminated
	case <-terminated:
	}
	app.stop()
}

func podName() string {
	if pod := os.Getenv("POD"); pod != "" {
		return pod
	}
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	return host
}

// front is the listener of the application port, which `refuse` closes and opens again under a running server.
type front struct {
	server   *http.Server
	mu       sync.Mutex
	listener net.Listener
}

func (f *front) set(open bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if open == (f.listener != nil) {
		return nil
	}
	if !open {
		err := f.listener.Close()
		f.listener = nil
		return err
	}
	listener, err := net.Listen("tcp", f.server.Addr)
	if err != nil {
		return err
	}
	f.listener = listener
	go f.server.Serve(listener) //nolint:errcheck // returns when the listener or the server is closed
	return nil
}

// stop is the end after SIGTERM: lame duck, then a graceful shutdown without a limit of its own (the kubelet has one).
func (a *app) stop() {
	settings := a.begin()
	log.Print("asked to end")
	if settings.ignoreTerm {
		os.Exit(0)
	}
	time.Sleep(settings.lameDuck)
	close(a.abandon)
	if err := a.front.server.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
}
