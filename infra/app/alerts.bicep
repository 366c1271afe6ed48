// Alerts on the servers. Each row of `rules` is one alert over all shards.

param location string
param tags object
param actionGroupName string
param email string
param workspaceId string
param serverIds array
param maxConnections int

// timeAggregation must be one that the metric has.
var rules = [
  {
    name: 'mysql-cpu'
    metric: 'cpu_percent'
    threshold: 80
    aggregation: 'Average'
    severity: 2
    description: 'A shard has used more than 80 % of its CPU for 15 minutes.'
  }
  {
    name: 'mysql-storage'
    metric: 'storage_percent'
    threshold: 85
    aggregation: 'Maximum'
    severity: 1
    description: 'A shard has used more than 85 % of its storage.'
  }
  {
    name: 'mysql-connections'
    metric: 'active_connections'
    threshold: maxConnections * 80 / 100
    aggregation: 'Maximum'
    severity: 2
    description: 'A shard has more than 80 % of its max_connections in use.'
  }
  {
    name: 'mysql-io'
    metric: 'io_consumption_percent'
    threshold: 90
    aggregation: 'Average'
    severity: 2
    description: 'A shard has used more than 90 % of its I/O for 15 minutes.'
  }
  {
    name: 'mysql-aborted-connections'
    metric: 'aborted_connections'
    threshold: 50
    aggregation: 'Total'
    severity: 3
    description: 'More than 50 connections to a shard failed in 15 minutes.'
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'shardline'
    enabled: true
    emailReceivers: empty(email) ? [] : [
      {
        name: 'operators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource metricAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [for rule in rules: {
  name: rule.name
  location: 'global'
  tags: union(tags, {
    workspace: last(split(workspaceId, '/'))
  })
  properties: {
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: serverIds
    targetResourceType: 'Microsoft.DBforMySQL/flexibleServers'
    targetResourceRegion: location
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: rule.metric
          metricNamespace: 'Microsoft.DBforMySQL/flexibleServers'
          metricName: rule.metric
          operator: 'GreaterThan'
          threshold: rule.threshold
          timeAggregation: rule.aggregation
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroup.id
      }
    ]
  }
}]

output actionGroupId string = actionGroup.id
