// Stands in for ECR, and for those who push to it.
//
//	registry serve ADDRESS                          a registry of images, in memory
//	registry push REFERENCE LAYOUT [NAME=VALUE...]  push the image of an OCI layout, with further variables in it
//	registry pack REFERENCE BINARY                  push an image of this one static binary
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 || os.Args[1] != "serve" && len(os.Args) < 4 {
		log.Fatal("usage: registry serve ADDRESS | push REFERENCE LAYOUT [NAME=VALUE...] | pack REFERENCE BINARY")
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2])
	case "push":
		err = push(os.Args[2], os.Args[3], os.Args[4:])
	case "pack":
		err = pack(os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("no command %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return http.Serve(listener, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
}

func push(reference, directory string, variables []string) error {
	index, err := layout.ImageIndexFromPath(directory)
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("%s has %d images, not one", directory, len(manifest.Manifests))
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	return write(reference, image, func(config *v1.Config) { config.Env = append(config.Env, variables...) })
}

func pack(reference, binary string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	base := filepath.Base(binary)
	var archive bytes.Buffer
	files := tar.NewWriter(&archive)
	if err := files.WriteHeader(&tar.Header{Name: base, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	if _, err := files.Write(content); err != nil {
		return err
	}
	if err := files.Close(); err != nil {
		return err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	// It never leaves this machine.
	layer, err := tarball.LayerFromOpener(opener, tarball.WithCompressionLevel(gzip.NoCompression))
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	return write(reference, image, func(config *v1.Config) { config.Entrypoint = []string{"/" + base} })
}

func write(reference string, image v1.Image, change func(*v1.Config)) error {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	change(&file.Config)
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return err
	}
	return remote.Write(ref, image)
}
