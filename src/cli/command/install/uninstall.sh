#!/bin/sh
# Takes Stepgate out of the cluster that it names first. Read it, then pipe it into sh. It may be run again where it stopped.
set -eu
namespace=stepgate-system
part=app.kubernetes.io/part-of=stepgate
# Of the kubeconfig. Empty: the current one, which every command below is tied to once it has been named.
context=

# One function, called by the last line: of a script that arrives by half nothing is run.
uninstall() {

context=${context:-$(command kubectl config current-context)}
kubectl() { command kubectl --context "$context" "$@"; }
echo "Taking Stepgate out of cluster $(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}') (context $context)." >&2

kubectl get namespace default > /dev/null

# What the cluster does not know holds nothing of ours.
remove() { # kind, then what of it
  if kubectl get "$@" > /dev/null 2>&1; then kubectl delete "$@" --ignore-not-found; fi
}

# 1. The Rollouts, while the controller runs: it takes open releases back, unpins the Services and lets go of the Deployments.
if kubectl get crd rollouts.stepgate.dev > /dev/null 2>&1; then
  if ! kubectl delete rollouts.stepgate.dev --all --all-namespaces --timeout=10m; then
    echo "Some Rollouts are still there, and nothing else was removed. Does the controller run? kubectl -n $namespace get pods" >&2
    echo "What each one waits for: kubectl get rollouts.stepgate.dev --all-namespaces -o wide" >&2
    exit 1
  fi
fi

# 2. The admission policies, bindings first: a policy without a binding does nothing.
for kind in mutatingadmissionpolicybindings validatingadmissionpolicybindings mutatingadmissionpolicies validatingadmissionpolicies; do
  remove "$kind" -l "$part"
done

# 3. The controller, and wait for its pods.
remove poddisruptionbudget stepgate -n "$namespace"
remove networkpolicy stepgate -n "$namespace"
if kubectl get deployment stepgate -n "$namespace" > /dev/null 2>&1; then
  kubectl delete deployment stepgate -n "$namespace" --cascade=foreground --timeout=2m
fi
remove priorityclass stepgate

# 4. The kinds, and with them the policies of kind RolloutPolicy and ClusterRolloutPolicy.
for kind in rollouts rolloutpolicies clusterrolloutpolicies; do
  remove crd "$kind.stepgate.dev"
done

# 5. The rights.
remove clusterrolebinding -l "$part"
remove clusterrole -l "$part"
for kind in rolebinding role serviceaccount lease; do
  remove "$kind" stepgate -n "$namespace"
done

# 6. The namespace, unless there is something in it that is not ours.
if kubectl get namespace "$namespace" > /dev/null 2>&1; then
  others=$(kubectl get all,configmaps,secrets,persistentvolumeclaims -n "$namespace" -o name | grep -vx configmap/kube-root-ca.crt || true)
  if [ -n "$others" ]; then
    echo "Namespace $namespace is kept, because it holds: $others"
  else
    kubectl delete namespace "$namespace"
  fi
fi
echo "Stepgate is gone."
}

uninstall
