package board

import "context"

// pages returns a whole list. fetch returns the page of a token, and the token of the
// next page. The client's timeout bounds all pages together.
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

// ifSet returns nil for an empty value, which leaves the field out of a request.
func ifSet(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}
