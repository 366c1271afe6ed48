// The Flex Consumption app: one per plan. Its runtime is in functionAppConfig; the app settings of older plans for it are refused here.

param location string
param tags object
param planName string
param appName string
param nodeVersion string

@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int

param maxInstances int

@description('{name, instanceCount} each.')
param alwaysReady array

@description('HTTP requests that one instance serves at once.')
param httpConcurrency int

param zoneRedundant bool
param identityId string
param packageContainerUrl string

@description('Empty for no network integration.')
param subnetId string

@description('All app settings: a deployment replaces the whole set.')
param settings object

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: appName
  location: location
  tags: union(tags, {
    'azd-service-name': 'api'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      alwaysOn: false
      minTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'node'
        version: nodeVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maxInstances
        alwaysReady: alwaysReady
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
    }
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: settings
}

// Deployment is by Entra sign-in alone.
resource publishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = [for way in [
  'scm'
  'ftp'
]: {
  parent: app
  name: way
  properties: {
    allow: false
  }
}]

output name string = app.name
output uri string = 'https://${app.properties.defaultHostName}'
