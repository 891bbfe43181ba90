// Command coredns is the cluster's DNS server with the plugins that a cluster needs, and no more: with all of them it drags
// in an etcd client that does not compile beside the etcd server of this module.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
)

func init() {
	dnsserver.Directives = []string{"reload", "health", "ready", "errors", "template", "cache", "loop", "kubernetes"}
}

func main() {
	coremain.Run()
}
