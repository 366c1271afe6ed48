// The Durable Task Scheduler, in place of the storage account, as the store of orchestrations.

param location string
param tags object
param name string

@description('Equals extensions.durableTask.hubName of host.json.')
param hubName string

@allowed([
  'Consumption'
  'Dedicated'
])
param skuName string

@description('Capacity units of the Dedicated SKU; three for high availability.')
@minValue(1)
@maxValue(3)
param capacity int

param retentionDays int
param appPrincipalId string
param endpointSubnetId string
param zoneId string

var isPrivate = !empty(endpointSubnetId)
var durableTaskDataContributor = '0ad04412-c4d5-4796-b79c-f76d14c8d402'

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    ipAllowlist: [
      '0.0.0.0/0'
    ]
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    sku: skuName == 'Dedicated' ? {
      name: 'Dedicated'
      capacity: capacity
    } : {
      name: 'Consumption'
    }
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: hubName
  properties: {}
}

resource retention 'Microsoft.DurableTask/schedulers/retentionPolicies@2026-02-01' = {
  parent: scheduler
  name: 'default'
  properties: {
    retentionPolicies: [
      {
        retentionPeriodInDays: retentionDays
      }
    ]
  }
}

resource appAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(scheduler.id, appPrincipalId, durableTaskDataContributor)
  scope: scheduler
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', durableTaskDataContributor)
  }
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'pe-task-scheduler'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}'
    subnetId: endpointSubnetId
    targetId: scheduler.id
    groupId: 'scheduler'
    zoneId: zoneId
  }
}

output endpoint string = scheduler.properties.endpoint
