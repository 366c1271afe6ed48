// The storage account: the host's own data, queues, the bucket map, batches, reports, the deployment package. No keys.

param location string
param tags object
param name string

@description('Copies in three zones; needed where the app is zone redundant.')
param zoneRedundant bool

@description('Subnet for private endpoints; empty leaves the account reachable from outside, with Entra sign-in only.')
param endpointSubnetId string

param blobZoneId string
param queueZoneId string
param tableZoneId string
param workspaceId string
param appPrincipalId string
param deployerPrincipalId string
param deployerPrincipalType string

@description('The deployer may read and write blobs and queues: for development only.')
param grantDeployer bool

@description('Days after which the blobs of a batch, its chunks and its result are deleted.')
param batchRetentionDays int

@description('Days after which reports and verifications are deleted.')
param reportRetentionDays int

var isPrivate = !empty(endpointSubnetId)
var containers = [
  'app-package'
  'control'
  'ingestions'
  'maintenance'
  'reports'
  'verifications'
]
var queues = [
  'orders'
  'orders-poison'
  'sagas'
  'sagas-poison'
]
var roles = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}
// The host: Blob Data Owner. Poison queues and the durable hub's queues and tables are made by the host itself.
var appRoles = [
  roles.blobDataOwner
  roles.queueDataContributor
  roles.tableDataContributor
]
var deployerRoles = grantDeployer ? [
  roles.blobDataContributor
  roles.queueDataContributor
] : []

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      ipRules: []
      virtualNetworkRules: []
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [for container in containers: {
  parent: blobService
  name: container
  properties: {
    publicAccess: 'None'
  }
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource storageQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = [for queue in queues: {
  parent: queueService
  name: queue
}]

// The container control is not here: the bucket map, its history and the certificates of moves are kept for ever.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'old-batches'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'ingestions/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: batchRetentionDays
                }
              }
            }
          }
        }
        {
          name: 'old-reports'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'reports/'
                'verifications/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: reportRetentionDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource appAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in appRoles: {
  name: guid(account.id, appPrincipalId, role)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

resource deployerAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in deployerRoles: {
  name: guid(account.id, deployerPrincipalId, role)
  scope: account
  properties: {
    principalId: deployerPrincipalId
    principalType: any(deployerPrincipalType)
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobService
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource queueDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: queueService
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

module blobEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'pe-blob'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}-blob'
    subnetId: endpointSubnetId
    targetId: account.id
    groupId: 'blob'
    zoneId: blobZoneId
  }
}

module queueEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'pe-queue'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}-queue'
    subnetId: endpointSubnetId
    targetId: account.id
    groupId: 'queue'
    zoneId: queueZoneId
  }
}

module tableEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'pe-table'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}-table'
    subnetId: endpointSubnetId
    targetId: account.id
    groupId: 'table'
    zoneId: tableZoneId
  }
}

output name string = account.name
output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
output packageContainerUrl string = '${account.properties.primaryEndpoints.blob}app-package'
