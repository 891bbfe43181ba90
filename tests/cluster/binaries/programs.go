//go:build programs

// Package binaries holds the programs of the local node in one module, so that the packages they share compile once.
package binaries

import (
	_ "helm.sh/helm/v4/cmd/helm"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "sigs.k8s.io/gateway-api/pkg/consts"
)
