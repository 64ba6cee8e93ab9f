//go:build !linux

package main

import "errors"

var errLinux = errors.New("it makes network namespaces, which only Linux has")

func run(options) error    { return errLinux }
func blast([]string) error { return errLinux }
