package board

// pages collects a list whose pages fetch gets, each by its token.
func pages[T any](fetch func(token string) (items []T, next string, err error)) ([]T, error) {
	var all []T
	for token := ""; ; {
		items, next, err := fetch(token)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if next == "" {
			return all, nil
		}
		token = next
	}
}

func each[From, To any](items []From, convert func(From) To) []To {
	converted := make([]To, len(items))
	for i, item := range items {
		converted[i] = convert(item)
	}
	return converted
}

// ifSet leaves a field out of a request when it is empty.
func ifSet(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}
