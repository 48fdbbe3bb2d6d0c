package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// nebula is a plan: its name, and its phases, each after those it depends on.
type nebula struct {
	name   string
	phases []phase
}

// phase is the head of a phase's file. The worker reads the rest of the file.
type phase struct {
	ID        string   `toml:"id"`
	DependsOn []string `toml:"depends_on"`

	path string
}

// readNebula reads nebula.toml and the phases' Markdown files in a directory.
func readNebula(dir string) (nebula, error) {
	var plan struct {
		Nebula struct{ Name string }
	}
	file := filepath.Join(dir, "nebula.toml")
	if _, err := toml.DecodeFile(file, &plan); err != nil {
		return nebula{}, fmt.Errorf("%s: %w", file, err)
	}
	if plan.Nebula.Name == "" {
		return nebula{}, fmt.Errorf("%s: names no nebula", file)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.md")) // sorted
	if err != nil {
		return nebula{}, err
	}
	var phases []phase
	for _, file := range files {
		p, err := readPhase(file)
		if err != nil {
			return nebula{}, fmt.Errorf("%s: %w", file, err)
		}
		phases = append(phases, p)
	}
	phases, err = inOrder(phases)
	return nebula{plan.Nebula.Name, phases}, err
}

// readPhase reads the TOML between the two lines +++ at the top of the file.
func readPhase(file string) (phase, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return phase{}, err
	}
	parts := strings.SplitN(string(text), "+++\n", 3)
	if len(parts) < 3 || parts[0] != "" {
		return phase{}, fmt.Errorf("does not begin with a head between two lines +++")
	}
	p := phase{path: file}
	if _, err := toml.Decode(parts[1], &p); err != nil {
		return phase{}, err
	}
	if p.ID == "" {
		return phase{}, fmt.Errorf("has no id")
	}
	return p, nil
}

// inOrder puts each phase after those that it depends on, and keeps the order
// of the files otherwise.
func inOrder(phases []phase) ([]phase, error) {
	byID := map[string]phase{}
	for _, p := range phases {
		if other, ok := byID[p.ID]; ok {
			return nil, fmt.Errorf("%s: %s is the ID of %s too", p.path, p.ID, other.path)
		}
		byID[p.ID] = p
	}
	var ordered []phase
	const begun, placed = 1, 2
	progress := map[string]int{}
	var place func(p phase) error
	place = func(p phase) error {
		switch progress[p.ID] {
		case placed:
			return nil
		case begun:
			return fmt.Errorf("%s: depends on itself, directly or through others", p.path)
		}
		progress[p.ID] = begun
		for _, id := range p.DependsOn {
			before, ok := byID[id]
			if !ok {
				return fmt.Errorf("%s: depends on %s, which is no phase", p.path, id)
			}
			if err := place(before); err != nil {
				return err
			}
		}
		progress[p.ID] = placed
		ordered = append(ordered, p)
		return nil
	}
	for _, p := range phases {
		if err := place(p); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}
