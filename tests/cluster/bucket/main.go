// Command bucket is a server of S3 for tests: Versity's gateway over a folder, whose folders are the buckets.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	folder := flag.String("folder", "", "holds data/, meta/ and accounts/, all of which exist")
	listen := flag.String("listen", "", "host:port")
	certificate := flag.String("certificate", "", "PEM file; with --key: answer by TLS")
	key := flag.String("key", "", "PEM file")
	flag.Parse()
	// Beside the data, for not every file system has extended attributes.
	attributes, err := meta.NewSideCar(filepath.Join(*folder, "meta"))
	if err != nil {
		return err
	}
	files, err := posix.New(filepath.Join(*folder, "data"), attributes, posix.PosixOpts{SideCarDir: filepath.Join(*folder, "meta")})
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(context.Background(), files, &embedgw.Config{
		RootUserAccess:    os.Getenv("ROOT_ACCESS_KEY"),
		RootUserSecret:    os.Getenv("ROOT_SECRET_KEY"),
		Ports:             []string{*listen},
		CertFile:          *certificate,
		KeyFile:           *key,
		IAMDir:            filepath.Join(*folder, "accounts"),
		HealthPath:        "/healthz",
		MaxConnections:    256,
		MaxRequests:       256,
		MultipartMaxParts: 10000,
		KeepAlive:         true,
	})
}
