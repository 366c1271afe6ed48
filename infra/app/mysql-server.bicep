// One MySQL flexible server, without its children. Deployed twice for each shard where a maintenance window is wanted:
// the service refuses a window while it creates the server, and takes it in an update.

param location string
param tags object
param name string
param version string
param sku object
param identityId string
param administratorLogin string

@secure()
param administratorPassword string

param storageGB int
param backupRetentionDays int
param geoRedundantBackup bool

@allowed([
  'Disabled'
  'SameZone'
  'ZoneRedundant'
])
param highAvailability string

@allowed([
  'Enabled'
  'Disabled'
])
param publicNetworkAccess string

@description('customWindow, dayOfWeek, startHour, startMinute; empty while the server is created.')
param maintenanceWindow object = {}

var properties = {
  createMode: 'Default'
  version: version
  administratorLogin: administratorLogin
  administratorLoginPassword: administratorPassword
  storage: {
    storageSizeGB: storageGB
    autoGrow: 'Enabled'
    autoIoScaling: 'Enabled'
  }
  backup: {
    backupRetentionDays: backupRetentionDays
    geoRedundantBackup: geoRedundantBackup ? 'Enabled' : 'Disabled'
  }
  highAvailability: {
    mode: highAvailability
  }
  // Public mode with private endpoints, never an injected server: the way back is closed, and failover is slower there.
  network: {
    publicNetworkAccess: publicNetworkAccess
  }
}

resource server 'Microsoft.DBforMySQL/flexibleServers@2024-12-30' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku.name
    tier: sku.tier
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: union(properties, empty(maintenanceWindow) ? {} : {
    maintenanceWindow: maintenanceWindow
  })
}

output id string = server.id
output fqdn string = server.properties.fullyQualifiedDomainName
