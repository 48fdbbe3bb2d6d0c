package board

import "context"

// pages collects a list whose pages fetch gets, each by its token, within the
// time of one call.
func pages[T any](
	ctx context.Context,
	c *calls,
	fetch func(ctx context.Context, token string) (items []T, next string, err error),
) ([]T, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var all []T
	for token := ""; ; {
		items, next, err := fetch(ctx, token)
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
