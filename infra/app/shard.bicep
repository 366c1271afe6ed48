// One shard: a MySQL server, its Entra administrator, schema, firewall, parameters, diagnostics and private endpoint. What
// belongs to one server is deployed one after the other: the service refuses two changes at once. Shards go in parallel.

param location string
param tags object
param name string
param index int
param version string
param sku object
param identityId string
param administratorLogin string

@secure()
param administratorPassword string

param storageGB int
param backupRetentionDays int
param geoRedundantBackup bool
param highAvailability string
param publicNetworkAccess string

@description('Give the server a window for patches in a night of its own.')
param withMaintenanceWindow bool

param database string
param entraAdminLogin string
param entraAdminObjectId string
param tenantId string

@description('{name, start, end} each; ignored while public access is disabled.')
param firewallRules array

@description('{name, value} each; aad_auth_only, if wanted, last.')
param parameters array

param workspaceId string

@description('Empty for no private endpoint.')
param endpointSubnetId string

param zoneId string

var nights = [
  'Sunday'
  'Monday'
  'Tuesday'
  'Wednesday'
  'Thursday'
  'Friday'
  'Saturday'
]
// Shard 0 on Sunday at 03:00 UTC, shard 1 on Monday, and so on; shard 7 on Sunday at 04:00. The app's own nightly
// maintenance is done by then.
var maintenanceWindow = {
  customWindow: 'Enabled'
  dayOfWeek: index % length(nights)
  startHour: (3 + index / length(nights)) % 24
  startMinute: 0
}

module create 'mysql-server.bicep' = {
  name: '${name}-create'
  params: {
    location: location
    tags: tags
    name: name
    version: version
    sku: sku
    identityId: identityId
    administratorLogin: administratorLogin
    administratorPassword: administratorPassword
    storageGB: storageGB
    backupRetentionDays: backupRetentionDays
    geoRedundantBackup: geoRedundantBackup
    highAvailability: highAvailability
    publicNetworkAccess: publicNetworkAccess
  }
}

resource server 'Microsoft.DBforMySQL/flexibleServers@2024-12-30' existing = {
  name: name
}

resource administrator 'Microsoft.DBforMySQL/flexibleServers/administrators@2024-12-30' = {
  parent: server
  // The only name that the service takes.
  name: 'ActiveDirectory'
  properties: {
    administratorType: 'ActiveDirectory'
    identityResourceId: identityId
    login: entraAdminLogin
    sid: entraAdminObjectId
    tenantId: tenantId
  }
  dependsOn: [
    create
  ]
}

resource schema 'Microsoft.DBforMySQL/flexibleServers/databases@2024-12-30' = {
  parent: server
  name: database
  properties: {
    charset: 'utf8mb4'
    collation: 'utf8mb4_0900_ai_ci'
  }
  dependsOn: [
    administrator
  ]
}

@batchSize(1)
resource rules 'Microsoft.DBforMySQL/flexibleServers/firewallRules@2024-12-30' = [for rule in (publicNetworkAccess == 'Enabled' ? firewallRules : []): {
  parent: server
  name: rule.name
  properties: {
    startIpAddress: rule.start
    endIpAddress: rule.end
  }
  dependsOn: [
    schema
  ]
}]

@batchSize(1)
resource configuration 'Microsoft.DBforMySQL/flexibleServers/configurations@2024-12-30' = [for parameter in parameters: {
  parent: server
  name: parameter.name
  properties: {
    value: parameter.value
    source: 'user-override'
  }
  dependsOn: [
    rules
  ]
}]

module maintenance 'mysql-server.bicep' = if (withMaintenanceWindow) {
  name: '${name}-maintenance'
  params: {
    location: location
    tags: tags
    name: name
    version: version
    sku: sku
    identityId: identityId
    administratorLogin: administratorLogin
    administratorPassword: administratorPassword
    storageGB: storageGB
    backupRetentionDays: backupRetentionDays
    geoRedundantBackup: geoRedundantBackup
    highAvailability: highAvailability
    publicNetworkAccess: publicNetworkAccess
    maintenanceWindow: maintenanceWindow
  }
  dependsOn: [
    configuration
  ]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: server
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'MySqlSlowLogs'
        enabled: true
      }
      {
        category: 'MySqlAuditLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
  dependsOn: [
    configuration
    maintenance
  ]
}

module endpoint 'private-endpoint.bicep' = if (!empty(endpointSubnetId)) {
  name: 'pe-${name}'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}'
    subnetId: endpointSubnetId
    targetId: create.outputs.id
    groupId: 'mysqlServer'
    zoneId: zoneId
  }
  dependsOn: [
    configuration
    maintenance
  ]
}

output id string = create.outputs.id
output fqdn string = create.outputs.fqdn
