from django.apps import AppConfig


class ModelConfig(AppConfig):
    name = "mailfleet.model"
    label = "model"
