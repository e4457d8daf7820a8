package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if key, value, _ := strings.Cut(pair, "="); key == name {
				return value
			}
		}
		return ""
	}
}

func start(t *testing.T, args ...string) *app {
	t.Helper()
	s, err := parse(args, env())
	if err != nil {
		t.Fatal(err)
	}
	return newApp(s, "pod-1", time.Now())
}

func (a *app) get(path string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	a.front.server.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer
}

func (a *app) post(query string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	a.control().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/set?"+query, nil))
	return answer
}

func TestTheEnvironmentWinsOverArguments(t *testing.T) {
	s, err := parse([]string{"--version=v1", "--fail=10"}, env("VERSION=v2"))
	if err != nil || s.version != "v2" || s.fail != 10 {
		t.Fatal(s, err)
	}
}

func TestEveryKeyCanBeSet(t *testing.T) {
	value := map[string]string{"health": "500", "redirect_to": "/", "version": "v1"}
	for _, key := range keys {
		s, v := defaults(), value[key]
		if v == "" {
			v = "1"
			if strings.HasSuffix(key, "_after") || key == "slow" || key == "start_delay" || key == "lame_duck" {
				v = "1s"
			} else if key == "ready" {
				v = "true"
			}
		}
		if err := s.set(key, v); err != nil {
			t.Error(err)
		}
	}
}

func TestASetWithOneBadKeyChangesNothing(t *testing.T) {
	a := start(t, "--version=v1")
	if got := a.post("version=v2&fail=101"); got.Code != http.StatusBadRequest {
		t.Fatal(got)
	}
	if got := a.get("/").Header().Get("X-Version"); got != "v1" {
		t.Fatal(got)
	}
}

func TestFailAndHealthApplyAfterFailAfterOnly(t *testing.T) {
	a := start(t, "--fail=100", "--health=503", "--fail_after=1h")
	if a.get("/").Code != 200 || a.get("/healthz").Code != 200 {
		t.Fatal("too early")
	}
	a.post("fail_after=0s")
	if a.get("/").Code != 500 || a.get("/healthz").Code != 503 {
		t.Fatal("not at all")
	}
}

func TestFailAndHealthApplyAfterSoManyRequests(t *testing.T) {
	a := start(t, "--fail=100", "--health=503", "--fail_from=2")
	if a.get("/").Code != 200 || a.get("/").Code != 200 {
		t.Fatal("too early")
	}
	if a.get("/").Code != 500 || a.get("/healthz").Code != 503 {
		t.Fatal("not at all")
	}
}

func TestAnyPathAnswersAsTheRootWhereThatIsAskedFor(t *testing.T) {
	if start(t).get("/api/products").Code != 404 || start(t, "--any_path=true").get("/api/products").Code != 200 {
		t.Fatal("the wrong paths")
	}
}

func TestTheHealthPortAnswersWhatAKubeletAsks(t *testing.T) {
	a := start(t, "--health=503", "--ready=false")
	for path, want := range map[string]int{"/healthz": 503, "/readiness": 503, "/": 404} {
		answer := httptest.NewRecorder()
		a.health().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != want {
			t.Error(path, answer.Code)
		}
	}
}

func TestTheFirstBadAnswerToAHealthCheckIsRemembered(t *testing.T) {
	a := start(t)
	a.get("/healthz")
	if a.state()["bad_since"] != int64(0) {
		t.Fatal("a good answer counts as bad")
	}
	a.post("health=500")
	a.get("/healthz")
	first := a.state()["bad_since"]
	a.get("/healthz")
	if first == int64(0) || a.state()["bad_since"] != first {
		t.Fatal(first)
	}
}

func TestAPodThatIsNeverReadyStaysSo(t *testing.T) {
	a := start(t, "--ready=never")
	if a.post("ready=true").Code != http.StatusBadRequest || a.get("/ready").Code != http.StatusServiceUnavailable {
		t.Fatal("became ready")
	}
}

func TestALameDuckServesIsUnreadyAndClosesEachConnection(t *testing.T) {
	a := start(t)
	a.begin()
	answer := a.get("/")
	if answer.Code != 200 || answer.Header().Get("Connection") != "close" || a.get("/ready").Code != http.StatusServiceUnavailable {
		t.Fatal(answer)
	}
}
