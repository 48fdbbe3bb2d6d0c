package board

import (
	"context"
	"fmt"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// PublishContract implements [Board]. An unknown kind or status is
// ErrInvalidArgument, and nothing is sent.
func (c *calls) PublishContract(ctx context.Context, contract Contract) error {
	message, err := toProto("contract", contract)
	if err != nil {
		return err
	}
	_, err = call(ctx, c, c.stub.PublishContract, &boardv1.PublishContractRequest{Board: c.board, Contract: message, SessionId: c.sessionID})
	return err
}

// PublishContracts implements [Board]. A batch holds up to 10,000 contracts and
// 32 MiB. An unknown kind or status is ErrInvalidArgument, and nothing is sent.
func (c *calls) PublishContracts(ctx context.Context, contracts []Contract) error {
	messages, err := batch(contracts)
	if err != nil {
		return err
	}
	request := &boardv1.PublishContractsRequest{Board: c.board, Contracts: messages, SessionId: c.sessionID}
	_, err = call(ctx, c, c.stub.PublishContracts, request)
	return err
}

// ContractsFor implements [Board].
func (c *calls) ContractsFor(ctx context.Context, phaseID string) ([]Contract, error) {
	return c.listContracts(ctx, &boardv1.ListContractsRequest{Board: c.board, Producer: &phaseID})
}

// AllContracts implements [Board].
func (c *calls) AllContracts(ctx context.Context) ([]Contract, error) {
	return c.listContracts(ctx, &boardv1.ListContractsRequest{Board: c.board})
}

// ContractFilter selects the contracts that equal each field that is set.
type ContractFilter struct {
	Producer string
	Kind     string
	Name     string
	Package  *string // nil for any; "" for files at the root
	Status   string
}

// ListContracts returns the contracts that match the filter, by ID.
func (c *calls) ListContracts(ctx context.Context, filter ContractFilter) ([]Contract, error) {
	kind, err := kinds.number("kind", filter.Kind)
	if err != nil {
		return nil, err
	}
	status, err := statuses.number("status", filter.Status)
	if err != nil {
		return nil, err
	}
	return c.listContracts(ctx, &boardv1.ListContractsRequest{
		Board:    c.board,
		Producer: ifSet(filter.Producer),
		Kind:     kind,
		Name:     ifSet(filter.Name),
		Package:  filter.Package,
		Status:   status,
	})
}

func (c *calls) listContracts(ctx context.Context, request *boardv1.ListContractsRequest) ([]Contract, error) {
	return pages(ctx, c, func(ctx context.Context, token string) ([]Contract, string, error) {
		request.PageToken = token
		response, err := call(ctx, c, c.stub.ListContracts, request)
		return each(response.GetContracts(), contract), response.GetNextPageToken(), err
	})
}

// batch converts contracts. The error names the field of the first invalid one.
func batch(contracts []Contract) ([]*boardv1.Contract, error) {
	messages := make([]*boardv1.Contract, len(contracts))
	for i, contract := range contracts {
		message, err := toProto(fmt.Sprintf("contracts[%d]", i), contract)
		if err != nil {
			return nil, err
		}
		messages[i] = message
	}
	return messages, nil
}

// toProto converts the contract at the path field. The error names its invalid field.
func toProto(field string, c Contract) (*boardv1.Contract, error) {
	kind, err := kinds.required(field+".kind", c.Kind)
	if err != nil {
		return nil, err
	}
	status, err := statuses.number(field+".status", c.Status)
	if err != nil {
		return nil, err
	}
	return &boardv1.Contract{
		Producer:  c.Producer,
		Kind:      kind,
		Name:      c.Name,
		Signature: c.Signature,
		Package:   c.Package,
		Status:    status,
	}, nil
}

func contract(c *boardv1.Contract) Contract {
	return Contract{
		ID:        c.GetId(),
		Producer:  c.GetProducer(),
		Kind:      kinds.word(c.GetKind()),
		Name:      c.GetName(),
		Signature: c.GetSignature(),
		Package:   c.GetPackage(),
		Status:    statuses.word(c.GetStatus()),
		CreatedAt: c.GetCreatedAt().AsTime(),
	}
}
