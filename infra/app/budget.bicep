// The connection budget: all instances that may run at once, each with full pools to every shard, must fit into a stated
// share of a server's max_connections. The same sum is made before provisioning (tools/deploy/preprovision.ts) and at the
// start of each instance (src/database/shard-setup.ts).

@description('Functions that scale out on their own: all of HTTP, all of Durable Functions, and each queue function.')
param scalingGroups int

@description('On-demand instances that one group may have.')
param maxInstances int

@description('Instances beyond these: always-ready ones, and one for each timer.')
param extraInstances int

@description('Connections that one instance opens to one shard at most.')
param connectionsPerInstance int

@description('max_connections of each server.')
param maxConnections int

@description('Share of max_connections that the app may use, percent.')
param sharePercent int

var instances = scalingGroups * maxInstances + extraInstances
var wanted = instances * connectionsPerInstance
var allowed = maxConnections * sharePercent / 100
var arithmetic = '(${scalingGroups} scaling groups x ${maxInstances} instances + ${extraInstances}) x ${connectionsPerInstance} connections = ${wanted}, but ${sharePercent} % of max_connections ${maxConnections} allows ${allowed}: lower MAX_INSTANCES or the pool sizes, or take a larger MYSQL_SKU'

// Classic Bicep has no fail(). A value that is not allowed is refused by Resource Manager, and its message repeats the value.
module check 'budget-check.bicep' = {
  name: 'connection-budget-check'
  params: {
    // any(): the compiler cannot know that this text is allowed; that is the point.
    connectionBudget: any(wanted <= allowed ? 'fits' : arithmetic)
  }
}

output connectionsPerShard int = wanted
output instances int = instances
