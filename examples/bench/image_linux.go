package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// An image is a file to send, of bytes that do not compress.
type image struct {
	path string
	size int64
	sum  [sha256.Size]byte
}

// image returns the file of a size, which it makes when it is first wanted.
func (l *lab) image(size int64) (*image, error) {
	if l.files[size] != nil {
		return l.files[size], nil
	}
	m := &image{path: filepath.Join(l.dir, fmt.Sprintf("image-%d", size)), size: size}
	f, err := os.Create(m.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha256.New()
	random := rand.NewChaCha8([32]byte{1})
	if _, err := io.Copy(io.MultiWriter(f, hash), io.LimitReader(random, size)); err != nil {
		return nil, err
	}
	hash.Sum(m.sum[:0])
	l.files[size] = m
	return m, nil
}

// check returns why the file at path is not this one, or nil.
func (m *image) check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != m.sum {
		return fmt.Errorf("%s has other content than what was sent", filepath.Base(path))
	}
	return nil
}
