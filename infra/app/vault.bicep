// The vault holds the password of the servers' first administrator, which the service asks for. The app and the pipeline
// never read it; it is for the day when Entra sign-in does not work. Where the app's database user has a password, because Entra
// users cannot be created, the vault holds the app's list of shards too, and the app may read secrets: then and only then.

param location string
param tags object
param name string
param breakGlassPrincipalId string
param breakGlassPrincipalType string

@secure()
param mysqlAdminPassword string

param appPrincipalId string

@description('The setting SHARDS with the password of the app\'s user; empty when there is none.')
@secure()
param shardsSecret string

@description('Empty leaves the vault reachable from outside, with Entra sign-in only.')
param endpointSubnetId string

param zoneId string

var isPrivate = !empty(endpointSubnetId)
var holdsShards = !empty(shardsSecret)
var shardsName = 'shards'
var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 7
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource password 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = {
  parent: vault
  name: 'mysql-break-glass-password'
  properties: {
    value: mysqlAdminPassword
    contentType: 'text/plain'
  }
}

resource breakGlass 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(breakGlassPrincipalId)) {
  name: guid(vault.id, breakGlassPrincipalId, secretsUser)
  scope: vault
  properties: {
    principalId: breakGlassPrincipalId
    principalType: any(breakGlassPrincipalType)
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

resource shards 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (holdsShards) {
  parent: vault
  name: shardsName
  properties: {
    value: shardsSecret
    contentType: 'application/json'
  }
}

// On this one secret: the administrator's password stays out of the app's reach.
resource appReads 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (holdsShards) {
  name: guid(vault.id, shardsName, appPrincipalId, secretsUser)
  scope: shards
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'pe-vault'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}'
    subnetId: endpointSubnetId
    targetId: vault.id
    groupId: 'vault'
    zoneId: zoneId
  }
}

output name string = vault.name
// Without a version: the newest is read. Names nothing that is there unless shardsSecret was given.
output shardsSecretUri string = '${vault.properties.vaultUri}secrets/${shardsName}'
