// The program kubecheck decodes the objects of a Kubernetes manifest with the types
// of Kubernetes, and fails if a field is unknown, of another type, or written twice.
// It is a module of its own, to keep those types out of the module of zeekwire.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: kubecheck FILE...")
		os.Exit(2)
	}
	failed := false
	for _, file := range os.Args[1:] {
		objects, err := check(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
			continue
		}
		fmt.Printf("%s: %d objects\n", file, objects)
	}
	if failed {
		os.Exit(1)
	}
}

// check returns the number of objects in a manifest.
func check(file string) (objects int, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		return 0, err
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	documents := yamlreader.NewDocumentDecoder(io.NopCloser(bytes.NewReader(content)))
	defer documents.Close()
	buffer := make([]byte, len(content))
	for ; ; objects++ {
		n, err := documents.Read(buffer)
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return objects, err
		}
		if _, _, err := decoder.Decode(buffer[:n], nil, nil); err != nil {
			return objects, fmt.Errorf("object %d: %w", objects+1, err)
		}
	}
}
