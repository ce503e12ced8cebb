/// One message of a conversation. Content is text, never control tokens.
package struct ChatMessage: Sendable, Equatable {
  /// Who speaks, as the templates name them.
  package enum Role: String, Sendable, CaseIterable {
    case system, user, assistant
  }

  package var role: Role
  package var content: String

  package init(_ role: Role, _ content: String) {
    self.role = role
    self.content = content
  }
}
