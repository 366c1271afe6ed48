// Three user-assigned identities, so that none can do another's work.

param location string
param tags object
param prefix string
param resourceToken string

@description('OWNER/NAME of the GitHub repository whose environment may sign in as the migrator; empty for none.')
param githubRepository string

@description('The GitHub environment of githubRepository.')
param githubEnvironment string

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${prefix}app-${resourceToken}'
  location: location
  tags: tags
}

// Changes the schema; reads and writes no rows for the app.
resource migrator 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${prefix}migrator-${resourceToken}'
  location: location
  tags: tags
}

resource migratorPipeline 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = if (!empty(githubRepository)) {
  parent: migrator
  name: 'github-${githubEnvironment}'
  properties: {
    issuer: 'https://token.actions.githubusercontent.com'
    subject: 'repo:${githubRepository}:environment:${githubEnvironment}'
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

// With it the servers ask Entra who signs in.
resource server 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${prefix}mysql-${resourceToken}'
  location: location
  tags: tags
}

output appId string = app.id
output appName string = app.name
output appClientId string = app.properties.clientId
output appPrincipalId string = app.properties.principalId
output migratorName string = migrator.name
output migratorClientId string = migrator.properties.clientId
output serverId string = server.id
