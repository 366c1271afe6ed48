// Alerts on the servers (one per row of `rules`, over all shards), alerts on what the app reports (one per entry of
// queries/alerts.json), and the workbook.

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
  tags: tags
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

var logAlerts = loadJsonContent('../queries/alerts.json')
// A query gives rows only when something is wrong.
var queries = {
  'order-write-success': loadTextContent('../queries/order-write-success.kql')
  'order-write-latency': loadTextContent('../queries/order-write-latency.kql')
  'ingestion-delay': loadTextContent('../queries/ingestion-delay.kql')
  'queue-backlog': loadTextContent('../queries/queue-backlog.kql')
  'poison-messages': loadTextContent('../queries/poison-messages.kql')
  'saga-attention': loadTextContent('../queries/saga-attention.kql')
  'shard-health': loadTextContent('../queries/shard-health.kql')
  'circuit-open': loadTextContent('../queries/circuit-open.kql')
  'pool-exhausted': loadTextContent('../queries/pool-exhausted.kql')
  'move-failed': loadTextContent('../queries/move-failed.kql')
  'maintenance-failed': loadTextContent('../queries/maintenance-failed.kql')
}

resource queryAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alert in logAlerts: {
  name: alert.name
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: alert.displayName
    description: '${alert.description} What to do: ${alert.runbook}'
    severity: alert.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT${alert.frequencyMinutes}M'
    windowSize: 'PT${alert.windowMinutes}M'
    autoMitigate: true
    // The tables are made by the first telemetry, after this.
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: queries[alert.name]
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        actionGroup.id
      ]
    }
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'shardline')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: 'Shardline'
    sourceId: workspaceId
    serializedData: loadTextContent('../workbook.json')
    version: 'Notebook/1.0'
  }
}

output actionGroupId string = actionGroup.id
