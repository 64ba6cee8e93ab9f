package commit

// Hold stops devices that have not logged ACTIVATING.
func (c *Coordinator) Hold() error { return c.setBrake(true, ReasonOperator) }

// Resume lets them go on.
func (c *Coordinator) Resume() error { return c.setBrake(false, ReasonOperator) }

func (c *Coordinator) setBrake(hold bool, reason Reason) error {
	if err := c.ready(); err != nil {
		return err
	}
	b := Brake{c.plan.Campaign, c.brake.Sequence + 1, hold}
	if err := c.log.append(coordRecord{Brake: &brakeRecord{b.Sequence, hold, reason}}.encode()); err != nil {
		return err
	}
	c.takeBrake(b, reason)
	c.emit(Event{Kind: EventBrake, Hold: hold, Reason: reason})
	return c.signBrake()
}

func (c *Coordinator) takeBrake(b Brake, reason Reason) {
	c.brake, c.brakeReason, c.brakeSigned = b, reason, nil
	c.answered = c.failures
}

// brakeForFailures puts the brake on when a failure came that no brake has answered, and they are too many.
func (c *Coordinator) brakeForFailures() error {
	if limit := c.plan.MaxFailures; limit == 0 || c.failures < limit || c.failures == c.answered || c.brake.Hold {
		return nil
	}
	return c.setBrake(true, ReasonMaxFailures)
}

func (c *Coordinator) signBrake() (err error) {
	if c.brake.Sequence > 0 && c.brakeSigned == nil {
		c.brakeSigned, err = c.brake.Sign(c.key)
	}
	return err
}
