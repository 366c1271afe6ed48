// Nothing but a parameter that takes one value. Any other is refused before a resource is made, and the refusal shows it.

@allowed([
  'fits'
])
param connectionBudget string

output verdict string = connectionBudget
