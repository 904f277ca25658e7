package metadata

import "context"

// Check reads the fence. Success says that the ownership stood at a moment during the call, so that all that was read before was read under it; it returns
// [ErrFenced] if another owner or epoch is there.
func (o *Ownership) Check(ctx context.Context) error {
	_, err := o.change(ctx, "check the fence", nil, func([]KeyValue) ([]Op, bool, error) { return nil, true, nil })
	return err
}
