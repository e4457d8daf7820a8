package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	metricsPath = "/apis/metrics.k8s.io/v1beta1"
	// Of a namespace: the work that its ready pods share, in CPUs.
	cpuAnnotation = "stepgate.test/cpu"
)

// serveMetrics is a metrics API for autoscalers whose numbers a test decides: the work written on a namespace, divided among the ready
// pods that were asked for. It ends with the process.
func serveMetrics(args []string) error {
	flags := flag.NewFlagSet("metrics", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "access to the cluster")
	listen := flags.String("listen", "", "address and port")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	certificate, err := ownCertificate()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, metav1.APIResourceList{
			TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
			GroupVersion: "metrics.k8s.io/v1beta1",
			APIResources: []metav1.APIResource{{Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: []string{"get", "list"}}},
		})
	})
	mux.HandleFunc("GET "+metricsPath+"/namespaces/{namespace}/pods", func(w http.ResponseWriter, r *http.Request) {
		list, err := podMetrics(r.Context(), client, r.PathValue("namespace"), r.URL.Query().Get("labelSelector"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, list)
	})
	server := http.Server{Addr: *listen, Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	return server.ListenAndServeTLS("", "")
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(object); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
	}
}

// Nobody checks it: the APIService says insecureSkipTLSVerify.
func ownCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * 365 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// podMetrics is a PodMetricsList; without the annotation an empty one, from which an autoscaler concludes nothing.
func podMetrics(ctx context.Context, client *kubernetes.Clientset, namespace, selector string) (map[string]any, error) {
	items := []map[string]any{}
	list := map[string]any{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": map[string]any{}}
	space, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if cpu, found := space.Annotations[cpuAnnotation]; found {
		work, err := resource.ParseQuantity(cpu)
		if err != nil {
			return nil, fmt.Errorf("annotation %s of namespace %s: %w", cpuAnnotation, namespace, err)
		}
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, err
		}
		ready := []corev1.Pod{}
		for _, pod := range pods.Items {
			if isReady(&pod) {
				ready = append(ready, pod)
			}
		}
		for _, pod := range ready {
			share := work.MilliValue() / int64(len(ready)*len(pod.Spec.Containers))
			containers := []map[string]any{}
			for _, container := range pod.Spec.Containers {
				containers = append(containers, map[string]any{"name": container.Name, "usage": map[string]string{"cpu": fmt.Sprintf("%dm", share), "memory": "1Mi"}})
			}
			metadata := map[string]any{"name": pod.Name, "namespace": namespace, "labels": pod.Labels}
			items = append(items, map[string]any{"metadata": metadata, "timestamp": metav1.Now(), "window": "1s", "containers": containers})
		}
	}
	list["items"] = items
	return list, nil
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}
