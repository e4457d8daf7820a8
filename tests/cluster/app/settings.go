package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

type readiness string

const (
	ready   readiness = "true"
	unready readiness = "false"
	notEver readiness = "never" // stays so, whatever is set later
)

const okStatus = "200"

// settings are all that can be chosen about the application. The names of `keys` are those of arguments and of the control port, in upper
// case those of the environment.
type settings struct {
	version     string
	ready       readiness
	fail        float64 // percent of the answers to `/` that are 500
	failAfter   time.Duration
	failFrom    int    // the request after which `fail` and `health` apply
	health      string // a status, or one of healthModes
	redirectTo  string
	slow        time.Duration
	refuse      bool
	crash       bool
	crashAfter  time.Duration // 0: never
	startDelay  time.Duration
	lameDuck    time.Duration
	ignoreTerm  bool
	port        int
	controlPort int
	healthPort  int  // 0: none
	anyPath     bool // every path answers as `/` does
	tlsPort     int  // 0: none
}

var healthModes = map[string]bool{"redirect": true, "hang": true, "endless": true, "refuse": true}

// keys in the order in which help and errors name them. Those at the end mean something at start only.
var keys = []string{
	"version", "ready", "fail", "fail_after", "fail_from", "health", "redirect_to", "slow", "refuse", "crash", "crash_after", "lame_duck",
	"ignore_term", "start_delay", "port", "control_port", "health_port", "any_path", "tls_port",
}

var startOnly = map[string]bool{"start_delay": true, "port": true, "control_port": true, "health_port": true, "any_path": true, "tls_port": true}

func defaults() settings {
	return settings{version: "dev", ready: ready, health: okStatus, redirectTo: "/", lameDuck: 3 * time.Second, port: 8080, controlPort: 8081}
}

// parse reads `--key=value` arguments, then the environment, which wins.
func parse(args []string, env func(string) string) (settings, error) {
	s := defaults()
	for _, arg := range args {
		key, value, found := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !found || !strings.HasPrefix(arg, "--") {
			return s, fmt.Errorf("%q is not --key=value; keys: %s", arg, strings.Join(keys, " "))
		}
		if err := s.set(key, value); err != nil {
			return s, err
		}
	}
	for _, key := range keys {
		if value := env(strings.ToUpper(key)); value != "" {
			if err := s.set(key, value); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func (s *settings) set(key, value string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s=%s: %w", key, value, err)
		}
	}()
	switch key {
	case "version":
		s.version = value
	case "ready":
		switch r := readiness(value); {
		case r != ready && r != unready && r != notEver:
			return fmt.Errorf("want true, false or never")
		case s.ready == notEver && r != notEver:
			return fmt.Errorf("this pod is never ready")
		default:
			s.ready = r
		}
	case "fail":
		s.fail, err = strconv.ParseFloat(value, 64)
		if err == nil && (s.fail < 0 || s.fail > 100) {
			err = fmt.Errorf("want 0 to 100")
		}
	case "health":
		code, atoi := strconv.Atoi(value)
		if !healthModes[value] && (atoi != nil || code < 200 || code > 599) {
			return fmt.Errorf("want a status from 200 to 599, redirect, hang, endless or refuse")
		}
		s.health = value
	case "redirect_to":
		s.redirectTo = value
	case "fail_after":
		s.failAfter, err = time.ParseDuration(value)
	case "fail_from":
		s.failFrom, err = strconv.Atoi(value)
	case "slow":
		s.slow, err = time.ParseDuration(value)
	case "crash_after":
		s.crashAfter, err = time.ParseDuration(value)
	case "start_delay":
		s.startDelay, err = time.ParseDuration(value)
	case "lame_duck":
		s.lameDuck, err = time.ParseDuration(value)
	case "refuse":
		s.refuse, err = strconv.ParseBool(value)
	case "crash":
		s.crash, err = strconv.ParseBool(value)
	case "ignore_term":
		s.ignoreTerm, err = strconv.ParseBool(value)
	case "port":
		s.port, err = strconv.Atoi(value)
	case "tls_port":
		s.tlsPort, err = strconv.Atoi(value)
	case "control_port":
		s.controlPort, err = strconv.Atoi(value)
	case "health_port":
		s.healthPort, err = strconv.Atoi(value)
	case "any_path":
		s.anyPath, err = strconv.ParseBool(value)
	default:
		return fmt.Errorf("no such key; keys: %s", strings.Join(keys, " "))
	}
	return err
}
