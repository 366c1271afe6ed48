// The network of the prod profile: the app's outgoing side, and the private endpoints of all it talks to.

param location string
param tags object
param name string

@description('Private DNS zones for a Durable Task Scheduler as well.')
param withTaskScheduler bool

// Inline, so that a later deployment does not take the subnets away from what is in them.
resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.40.0.0/16'
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: '10.40.1.0/24'
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'private-endpoints'
        properties: {
          addressPrefix: '10.40.2.0/24'
        }
      }
    ]
  }
}

var zones = concat([
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.queue.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink.mysql.database.azure.com'
  'privatelink.vaultcore.azure.net'
], withTaskScheduler ? [
  'privatelink.durabletask.io'
] : [])

resource dnsZones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zones: {
  name: zone
  location: 'global'
  tags: tags
}]

resource dnsLinks 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, index) in zones: {
  parent: dnsZones[index]
  name: '${name}-link'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

output appSubnetId string = '${network.id}/subnets/app'
output endpointSubnetId string = '${network.id}/subnets/private-endpoints'
output blobZoneId string = dnsZones[0].id
output queueZoneId string = dnsZones[1].id
output tableZoneId string = dnsZones[2].id
output mysqlZoneId string = dnsZones[3].id
output vaultZoneId string = dnsZones[4].id
output taskSchedulerZoneId string = withTaskScheduler ? resourceId('Microsoft.Network/privateDnsZones', 'privatelink.durabletask.io') : ''
